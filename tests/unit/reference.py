"""Every method, plainly: all models at every token, each time over the whole text, no cache, straight from the formulas."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

Probabilities = list[Tensor]  # one [vocabulary] a member, float64
Next = Callable[[Probabilities], int]


def distributions(models: Sequence[Any], ids: Sequence[int]) -> Probabilities:
    with torch.no_grad():
        return [m(input_ids=torch.tensor([list(ids)]), use_cache=False).logits[0, -1].double().softmax(-1) for m in models]


def draft(p: Probabilities) -> int:
    return int(p[0].argmax())


def assistant(p: Probabilities) -> int:
    return int(p[-1].argmax())


def average(p: Probabilities) -> int:
    return int((sum(p) / len(p)).argmax())  # type: ignore[union-attr, arg-type]


def weighted(*weights: float) -> Next:
    return lambda p: int(sum(w * x for w, x in zip(weights, p, strict=True)).argmax())  # type: ignore[union-attr]


def rule(alpha: float = 0.5, beta: float = 0.5) -> Next:
    def choose(p: Probabilities) -> int:
        ours = int(p[0].argmax())
        surest = max(p[1:], key=lambda q: float(q.max()))
        theirs = int(surest.argmax())
        if ours != theirs and p[0][ours] < alpha and surest[theirs] > beta * p[0][ours]:
            return theirs
        return ours

    return choose


def tree(classify: Callable[[list[float]], int]) -> Next:
    def choose(p: Probabilities) -> int:
        return int(p[classify([float(x.max().float()) for x in p])].argmax())

    return choose


def generate(models: Sequence[Any], choose: Next, ids: Sequence[int], tokens: int, end: int = 0) -> list[int]:
    written: list[int] = []
    while len(written) < tokens and (not written or written[-1] != end):
        written.append(choose(distributions(models, [*ids, *written])))
    return written
