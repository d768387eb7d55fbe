"""A data folder of made-up documents, laid out as `--data-dir` wants it."""

import json
from pathlib import Path
from typing import Any

from cosd_eval.evaluation import catalog, tasks


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _sum(i: int) -> dict[str, Any]:
    return {"question": f"What is {i} plus {i}?", "answer": f"{i} + {i} = <<{i}+{i}={2 * i}>>{2 * i}\n#### {2 * i}"}


def _subject(i: int, subject: str) -> dict[str, Any]:
    return {"question": f"{subject} {i}?", "subject": subject, "choices": [f"{subject} {c}" for c in "wxyz"], "answer": i % 4}


def _scene(i: int) -> dict[str, Any]:
    return {"activity_label": "Play", "ctx_a": f"A dog {i} runs.", "ctx_b": "it", "endings": [f"ends {c} {i}." for c in "wxyz"],
            "label": str(i % 4)}  # fmt: skip


def _who(i: int) -> dict[str, Any]:
    return {"sentence": f"Ann met Bo and _ left at {i}.", "option1": "Ann", "option2": "Bo", "answer": str(1 + i % 2)}


def _science(i: int) -> dict[str, Any]:
    return {
        "id": str(i),
        "question": f"Why {i}?",
        "choices": {"text": ["no", "yes", "so"], "label": ["A", "B", "C"]},
        "answerKey": "B",
    }


def _truth(i: int) -> dict[str, Any]:
    one = {"choices": [f"true {i}", f"false {i}", f"wrong {i}"], "labels": [1, 0, 0]}
    return {"question": f"Is it {i}?", "mc1_targets": one, "mc2_targets": {"choices": [f"true {i}", f"right {i}", f"false {i}"],
            "labels": [1, 1, 0]}}  # fmt: skip


def _function(i: int) -> dict[str, Any]:
    return {
        "task_id": f"T/{i}",
        "prompt": f"def f{i}(x):\n",
        "test": f"def check(f):\n    assert f(1) == {i}\n",
        "entry_point": f"f{i}",
    }


def write(folder: Path, items: int = 6) -> Path:
    """Every file of the catalogue; MMLU has two documents a subject and split."""
    subjects = sorted(
        e.cfg["dataset_name"]
        for n, e in tasks._known_index().items()
        if n.startswith("mmlu_") and "dataset_name" in (e.cfg or {})
    )
    mmlu = [_subject(i, s) for s in subjects for i in range(2)]
    makers = {
        "gsm8k": _sum,
        "hellaswag": _scene,
        "winogrande": _who,
        "arc_challenge": _science,
        "truthfulqa": _truth,
        "humaneval": _function,
    }
    tiny = {"tinyGSM8k": _sum, "tinyHellaswag": _scene, "tinyWinogrande": _who, "tinyArc": _science, "tinyTruthfulQA": _truth}
    for file in {f for known in catalog.KNOWN.values() for f in known.files.values()}:
        kind, name = file.split("/")[0], Path(file).stem
        if kind == "mmlu":
            rows = mmlu
        elif name == "tinyMMLU":
            rows = [{**_subject(i, "law"), "input_formatted": f"law {i}?\nA. w\nB. x\nC. y\nD. z\nAnswer:"} for i in range(items)]
        else:
            first = 100 if name == "train" else 0
            rows = [(tiny.get(name) or makers[kind])(first + i) for i in range(items + 30 * (name == "train"))]
        write_jsonl(folder / file, rows)
    return folder
