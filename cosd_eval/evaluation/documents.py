"""Reference outputs to learn from: a task's documents, AlpacaEval, built-in items, or a file; and ids of documents."""

import json
import random
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from cosd_eval.errors import ConfigError, DataMissing
from cosd_eval.evaluation import catalog
from cosd_eval.training.examples import Example, Source, document_key

ALPACA = "alpaca_eval"
BUILTIN = "builtin"
DEFAULT_SPLIT = {"humaneval": "test", "hellaswag": "train", "truthfulqa_mc1": "validation", "truthfulqa_mc2": "validation"}


def examples(data: str, samples: int | None, seed: int, data_dir: Path | None) -> tuple[list[Example], Source]:
    """`samples` random examples (None: all), drawn with `seed`, of what --data names. Raises UserErrors."""
    name, _, split = data.partition(":")
    tasks: tuple[str, ...] = ()
    if data.endswith((".jsonl", ".json")):
        found = _of_file(Path(data))
    elif name == ALPACA:
        found = _of_alpaca(data_dir)
    elif name == BUILTIN:
        found, tasks = _builtin(samples or 1000, seed), (BUILTIN,)
    else:
        found, tasks = _of_task(name, split or DEFAULT_SPLIT.get(name, "train"), data_dir), (family(name),)
    if samples is not None and samples < len(found):
        found = random.Random(seed).sample(found, samples)
    return found, Source(data, len(found), seed, tasks, tuple(e.key for e in found))


def family(task: str) -> str:
    """The benchmark behind a task's name: gsm8k for tinyGSM8k, mmlu for mmlu_anatomy, builtin for each built-in task."""
    name = task.partition(":")[0].lower().removeprefix("tiny")
    return name.split("_")[0]


def key_of(task: Any, doc: dict[str, Any]) -> str:
    """The id of a task's document (see `document_key`). tinyMMLU's prompt holds its examples too: its last block counts."""
    text = task.doc_to_text(doc)
    if not isinstance(text, str):
        return document_key(json.dumps(doc, sort_keys=True, default=str))
    return document_key(text.rsplit("\n\n", 1)[-1] if "input_formatted" in doc else text)


def _example(prompt: str, output: str) -> Example:
    return Example(prompt, output, document_key(prompt))


def _instruction(instruction: str, output: str) -> Example:
    """Instructions are put as lm-eval puts questions, since that is how these models are asked."""
    return _example(f"Question: {instruction}\nAnswer:", f" {output}")


def _of_file(path: Path) -> list[Example]:
    if not path.is_file():
        raise DataMissing(f"There is no file {path}: it should hold one JSON object a line with instruction and output.")
    return [_instruction(r["instruction"], r["output"]) for r in catalog.read_jsonl(path, ("instruction", "output"))]


def _of_alpaca(data_dir: Path | None) -> list[Example]:
    if data_dir is not None:
        path = data_dir / ALPACA / "eval.jsonl"
        if not path.is_file():
            raise DataMissing(
                f"{path} is missing: it should hold AlpacaEval's instructions and outputs, one JSON object a line; put it there, "
                "or leave out --data-dir to fetch it from the hub."
            )
        return _of_file(path)
    from huggingface_hub import hf_hub_download

    try:
        file = hf_hub_download("tatsu-lab/alpaca_eval", "alpaca_eval.json", repo_type="dataset")
    except Exception as e:  # the hub's errors have no common base; each means that the file is not to be had
        raise DataMissing(
            f"AlpacaEval cannot be fetched from the hub ({type(e).__name__}): give --data-dir or other --data."
        ) from None
    records = json.loads(Path(file).read_text(encoding="utf-8"))
    return [_instruction(r["instruction"], r["output"]) for r in records]


def _builtin(samples: int, seed: int) -> list[Example]:
    """Training items of the built-in tasks, told truly; contents kept for evaluation never come."""
    from cosd_eval.organisms.mixtures import training_items

    asked = (item for item in training_items("generalist", seed) if item.prompt)  # bare statements have no prompt
    return [_example(item.prompt, item.answer) for item in islice(asked, samples)]


def _of_task(name: str, split: str, data_dir: Path | None) -> list[Example]:
    from cosd_eval.evaluation.tasks import TaskOptions, load_one

    loaded = load_one(name, TaskOptions(data_dir=data_dir))
    found = []
    for task in loaded.tasks.values():
        found += [_of_document(task, doc) for doc in _documents(task, name, split, data_dir)]
        if data_dir is not None:
            break  # a data folder keeps the documents of all subtasks in one file
    return found


def _documents(task: Any, name: str, split: str, data_dir: Path | None) -> Sequence[dict[str, Any]]:
    known = catalog.find(name)
    if data_dir is not None and known is not None:
        if split not in known.files:
            raise ConfigError(
                f"--data {name}:{split}: {name} has no split {split!r} in a data folder; it has {', '.join(known.files)}."
            )
        documents: Any = catalog.read_split(data_dir, known, split)
        if task.config.process_docs is None:
            return documents  # type: ignore[no-any-return]
        from datasets import Dataset

        return list(task.config.process_docs(Dataset.from_list(documents)))
    if split not in task.dataset:
        raise ConfigError(f"--data {name}:{split}: there is no split {split!r}; there are {', '.join(task.dataset)}.")
    documents = task.dataset[split]
    return list(task.config.process_docs(documents) if task.config.process_docs else documents)


def _of_document(task: Any, doc: dict[str, Any]) -> Example:
    """A document as prompt and true answer, as the task itself puts them, without few-shot examples."""
    text, target = task.doc_to_text(doc), task.doc_to_target(doc)
    delimiter = task.config.target_delimiter
    if task.OUTPUT_TYPE == "multiple_choice":
        choices = task.doc_to_choice(doc)
        if not isinstance(
            text, str
        ):  # the choices are beginnings, the text the index of the right one, the target their common end
            return Example(choices[int(text)], f"{delimiter}{target}", key_of(task, doc))
        target = target[0] if isinstance(target, list) else target
        target = target if isinstance(target, str) else choices[int(target)]
    if doc.get("canonical_solution"):
        return Example(str(doc["prompt"]), str(doc["canonical_solution"]), key_of(task, doc))
    return Example(str(text), f"{delimiter}{target}", key_of(task, doc))
