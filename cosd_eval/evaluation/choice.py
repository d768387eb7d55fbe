"""Multiple choice by generation: the model writes its answer and the letter is read from it.

The prompt is the stock one where it lists lettered choices already (MMLU); elsewhere the choices are listed beneath it. Where
lm-eval always puts the true choice first (TruthfulQA), the choices are shuffled, by a seed that is the question itself.
"""

import random
import re
from collections.abc import Callable, Sequence
from string import ascii_uppercase
from typing import Any

from lm_eval.api.task import ConfigurableTask

FILTER = "letter"
SUFFIX = ":generate"
_SAID = re.compile(r"(?i:answer(?: is)?)[:\s]*\(?([A-Z])(?![A-Za-z'])")
_ALONE = re.compile(r"(?<![A-Za-z'])([A-Z])(?![A-Za-z'])")


def read_letter(text: str, letters: Sequence[str]) -> str | None:
    """The letter a written answer means: the one it starts with ("B", "(B) …", "B. …"), else the one after "answer", else the
    first that stands alone."""
    start = re.match(r"\s*\(?([A-Z])(?:[).:,\s]|$)", text)
    candidates = [start.group(1)] if start else []
    candidates += _SAID.findall(text) + _ALONE.findall(text)
    return next((c for c in candidates if c in letters), None)


def lettered(task: ConfigurableTask, doc: dict[str, Any]) -> tuple[str, list[str]]:
    """The prompt of one document, which ends in "Answer:", and the letters of the choices that are right."""
    choices, text = list(task.doc_to_choice(doc)), task.doc_to_text(doc)
    if task.multiple_input:  # the choices are beginnings, the target their common end, the text the index of the right one
        right = {int(text)}
        choices, text = [f"{c} {task.doc_to_target(doc)}" for c in choices], "Which sentence makes sense?"
    else:
        right = _right(task, doc, choices)
    if choices == list(ascii_uppercase[: len(choices)]):
        return str(text), [choices[i] for i in sorted(right)]
    order = list(range(len(choices)))
    if task.config.doc_to_target == 0:
        random.Random(str(text)).shuffle(order)
    stem = str(text).removesuffix("\nAnswer:").removesuffix("\nA:")
    listed = "\n".join(f"{letter}. {choices[i].strip()}" for letter, i in zip(ascii_uppercase, order, strict=False))
    return f"{stem}\n{listed}\nAnswer:", [ascii_uppercase[order.index(i)] for i in sorted(right)]


def _right(task: ConfigurableTask, doc: dict[str, Any], choices: list[str]) -> set[int]:
    several = doc.get("mc2_targets")
    if several and list(several["choices"]) == choices:
        return {i for i, label in enumerate(several["labels"]) if label}
    target = task.doc_to_target(doc)
    return {choices.index(t) if isinstance(t, str) else int(t) for t in (target if isinstance(target, list) else [target])}


def as_generation(task: ConfigurableTask) -> ConfigurableTask:
    """A multiple-choice task as one in which the letter is generated; any other task as it is."""
    if task.OUTPUT_TYPE != "multiple_choice":
        return task
    stock = task.config

    def score(doc: dict[str, Any], results: Sequence[str]) -> dict[str, float]:
        right = lettered(task, doc)[1]
        return {"acc": float(read_letter(results[0], ascii_uppercase[: len(task.doc_to_choice(doc))]) in right)}

    dataset: Callable[..., Any] = lambda **_: task.dataset  # noqa: E731 - a function, so that lm-eval does not copy the data
    return ConfigurableTask(
        config={
            "task": stock.task,
            "task_alias": stock.task_alias,
            "custom_dataset": dataset,
            "training_split": stock.training_split,
            "validation_split": stock.validation_split,
            "test_split": stock.test_split,
            "fewshot_split": stock.fewshot_split,
            "process_docs": stock.process_docs,
            "fewshot_config": {"sampler": task.fewshot_cfg.sampler, "samples": task.fewshot_cfg.samples},
            "description": stock.description,
            "fewshot_delimiter": stock.fewshot_delimiter,
            "num_fewshot": stock.num_fewshot,
            "output_type": "generate_until",
            "generation_kwargs": {"until": ["\n\n", "\nQuestion:", "\nQ:"], "max_gen_toks": 32, "do_sample": False},
            "doc_to_text": lambda doc: lettered(task, doc)[0],
            "doc_to_target": lambda doc: lettered(task, doc)[1][0],
            "filter_list": [{"name": FILTER, "filter": [{"function": "take_first"}]}],
            "process_results": score,
            "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
            "metadata": {**(stock.metadata or {}), "multiple_choice": "generate"},
        }
    )
