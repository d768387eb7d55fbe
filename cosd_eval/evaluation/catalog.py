"""The benchmarks of the paper: what each measures, and how a data folder holds it. No torch, no lm-eval.

A data folder holds one JSONL file a split, documents with the fields of the public data sets:
`gsm8k/test.jsonl`, `mmlu/test.jsonl` (all subjects, told apart by `subject`), `tinybenchmarks/tinyMMLU.jsonl`, …
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from cosd_eval.errors import DataMissing


@dataclass(frozen=True)
class Known:
    """One benchmark. folder: where lm-eval keeps its YAML. files: split -> file in a data folder. items: of the published
    test set. tiny: its name in the tinyBenchmarks package, which turns 100 items into an estimate for the full set."""

    folder: str
    measures: str
    items: int
    fields: tuple[str, ...]
    files: Mapping[str, str]
    tiny: str | None = None


def _files(folder: str, *splits: str) -> dict[str, str]:
    return {split: f"{folder}/{split}.jsonl" for split in splits}


_QUESTION = ("question", "answer")
_ARC = ("question", "choices", "answerKey")
_HELLASWAG = ("activity_label", "ctx_a", "ctx_b", "endings", "label")
_WINOGRANDE = ("sentence", "option1", "option2", "answer")
_TRUTHFULQA = ("question", "mc1_targets", "mc2_targets")
_TINY, _TINY_TRUTHFULQA = "tinyBenchmarks", {"validation": "tinybenchmarks/tinyTruthfulQA.jsonl"}

KNOWN: dict[str, Known] = {
    "gsm8k": Known("gsm8k", "grade-school arithmetic in words", 1319, _QUESTION, _files("gsm8k", "train", "test")),
    "mmlu": Known(
        "mmlu/default", "knowledge of 57 subjects", 14042, ("question", "subject", "choices", "answer"),
        _files("mmlu", "dev", "validation", "test"),
    ),
    "humaneval": Known(
        "humaneval", "Python functions completed, then run", 164, ("prompt", "test", "entry_point"), _files("humaneval", "test")
    ),
    "hellaswag": Known("hellaswag", "how a scene goes on", 10042, _HELLASWAG, _files("hellaswag", "train", "validation")),
    "winogrande": Known("winogrande", "whom a pronoun means", 1267, _WINOGRANDE, _files("winogrande", "train", "validation")),
    "arc_challenge": Known("arc", "school science", 1172, _ARC, _files("arc_challenge", "train", "validation", "test")),
    "truthfulqa_mc1": Known("truthfulqa", "truth against common error, one true answer", 817, _TRUTHFULQA,
                            _files("truthfulqa", "validation")),
    "truthfulqa_mc2": Known("truthfulqa", "truth against common error, several true answers", 817, _TRUTHFULQA,
                            _files("truthfulqa", "validation")),
    "tinyMMLU": Known(_TINY, "MMLU in 100 items", 100, ("input_formatted", "answer"),
                      {"test": "tinybenchmarks/tinyMMLU.jsonl"}, "mmlu"),
    "tinyGSM8k": Known(_TINY, "GSM8K in 100 items", 100, _QUESTION,
                       {"train": "gsm8k/train.jsonl", "test": "tinybenchmarks/tinyGSM8k.jsonl"}, "gsm8k"),
    "tinyHellaswag": Known(_TINY, "HellaSwag in 100 items", 100, _HELLASWAG,
                           {"train": "hellaswag/train.jsonl", "validation": "tinybenchmarks/tinyHellaswag.jsonl"}, "hellaswag"),
    "tinyArc": Known(_TINY, "ARC challenge in 100 items", 100, _ARC,
                     {"train": "arc_challenge/train.jsonl", "test": "tinybenchmarks/tinyArc.jsonl"}, "arc"),
    "tinyTruthfulQA": Known(_TINY, "TruthfulQA (several true answers) in 100 items", 100, _TRUTHFULQA,
                            _TINY_TRUTHFULQA, "truthfulqa"),
    "tinyTruthfulQA_mc1": Known(_TINY, "TruthfulQA (one true answer) in 100 items", 100, _TRUTHFULQA, _TINY_TRUTHFULQA),
    "tinyWinogrande": Known(_TINY, "WinoGrande in 100 items", 100, _WINOGRANDE,
                            {"train": "winogrande/train.jsonl", "validation": "tinybenchmarks/tinyWinogrande.jsonl"},
                            "winogrande"),
}  # fmt: skip


def find(name: str) -> Known | None:
    """The benchmark a task name belongs to; MMLU's groups and subjects (`mmlu_stem`, `mmlu_anatomy`) belong to MMLU."""
    return KNOWN.get(name) or (KNOWN["mmlu"] if name.startswith("mmlu_") else None)


def read_split(data_dir: Path, known: Known, split: str) -> list[dict[str, Any]]:
    """The documents of one split, in the file's order. Raises DataMissing, which names the file and what it should hold."""
    path = data_dir / known.files[split]
    if not path.is_file():
        raise DataMissing(
            f"{path} is missing: it should hold the {split} documents of {known.measures!r}, one JSON object a line with "
            f"{', '.join(known.fields)}; put it there, or leave out --data-dir to fetch the data from the hub."
        )
    return read_jsonl(path, known.fields)


def read_jsonl(path: Path, fields: tuple[str, ...]) -> list[dict[str, Any]]:
    """The JSON objects of a file, each of which has `fields`. Raises DataMissing, which names file and line."""
    return _read_jsonl(path, fields, path.stat().st_mtime_ns)


@lru_cache(maxsize=16)
def _read_jsonl(path: Path, fields: tuple[str, ...], modified: int) -> list[dict[str, Any]]:
    """modified is part of the cache's key only: a file changed between two runs of one process is read again."""
    documents = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        if not line.strip():
            continue
        try:
            document = json.loads(line)
            lacking = [f for f in fields if f not in document]
        except (ValueError, TypeError):
            raise DataMissing(f"{path}, line {number}, is not a JSON object: correct or remove it.") from None
        if lacking:
            raise DataMissing(f"{path}, line {number}, has no field {lacking[0]!r}: it should have {', '.join(fields)}.")
        documents.append(document)
    if not documents:
        raise DataMissing(f"{path} is empty: it should hold one JSON object a line with {', '.join(fields)}.")
    return documents
