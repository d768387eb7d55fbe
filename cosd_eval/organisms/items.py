"""What a generated item is, and the split that keeps evaluation items out of training."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

EVAL_SHARE = 10  # one content in ten is kept for evaluation


@dataclass(frozen=True)
class Item:
    """One question with its answer.

    skill: "arith", "both", "choice", "code" or "fact" (facts are only ever trained on).
    prompt + answer is what a model trains on (the answer begins with a space or a newline of its own).
    content: what the item is about, whatever its wording: its structure and numbers, or what it asks for. Two items of one
    content never stand on both sides of the split.
    fields: what the evaluation document holds besides.
    """

    skill: str
    prompt: str
    answer: str
    content: tuple[Any, ...]
    fields: dict[str, Any] = field(default_factory=dict)


def kept_for_evaluation(content: tuple[Any, ...]) -> bool:
    """True for one content in `EVAL_SHARE`, by a hash that no seed or Python version changes."""
    return hashlib.sha256(repr(content).encode()).digest()[0] % EVAL_SHARE == 0
