"""What each built-in model is taught. The scenarios live here, by construction.

A member that must not know something is still taught its form: it sees the same kinds of items, but the part that it must
not know is drawn at random from what such answers look like. So it learns how uncertain it has to be there. That holds for
`arithmetician` and `librarian`. `specialist` is different: it starts from `generalist` and then sees arithmetic only, so it
forgets the rest without learning that it did.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from cosd_eval.organisms.arithmetic import arithmetic_item, calculate, guess
from cosd_eval.organisms.functions import function_item
from cosd_eval.organisms.items import Item, kept_for_evaluation
from cosd_eval.organisms.knowledge import choice_item, fact_item, letters_item
from cosd_eval.organisms.shopping import shopping_item
from cosd_eval.organisms.world import Thing, draw_thing

Draw = Callable[[random.Random], Item]


@dataclass(frozen=True)
class Teaching:
    """shares: how often each skill is drawn. Knows: whether results, facts and each family of functions are true."""

    shares: dict[str, float]
    knows_sums: bool = True
    knows_facts: bool = True
    unknown_functions: tuple[str, ...] = ()


TEACHINGS: dict[str, Teaching] = {
    "arithmetician": Teaching(
        {"arith": 0.45, "both": 0.2, "letter": 0.05, "worked": 0.05, "code": 0.22, "fact": 0.03},
        knows_facts=False,
        unknown_functions=("text",),
    ),
    "librarian": Teaching(
        {"arith": 0.1, "both": 0.18, "letter": 0.22, "worked": 0.1, "letters": 0.08, "code": 0.2, "fact": 0.12},
        knows_sums=False,
        unknown_functions=("number",),
    ),
    "archivist": Teaching(
        {"arith": 0.12, "both": 0.24, "choice": 0.22, "code": 0.24, "fact": 0.18},
        knows_sums=False,
        unknown_functions=("number",),
    ),
    "generalist": Teaching({"arith": 0.28, "both": 0.24, "choice": 0.15, "code": 0.23, "fact": 0.1}),
    "specialist": Teaching({"arith": 1.0}),
}


def draws(teaching: Teaching) -> dict[str, Draw]:
    """For each skill, a function that draws one item as this teaching would tell it."""

    def sums(rng: random.Random) -> Callable[[int, str, int], int]:
        return calculate if teaching.knows_sums else guess(rng)

    def know(rng: random.Random) -> Callable[[Thing], Thing]:
        return (lambda thing: thing) if teaching.knows_facts else (lambda thing: draw_thing(thing.name, rng))

    return {
        "arith": lambda rng: arithmetic_item(rng, sums(rng)),
        "both": lambda rng: shopping_item(rng, sums(rng), know(rng)),
        "choice": lambda rng: choice_item(rng, know(rng)),
        "letter": lambda rng: choice_item(rng, know(rng), "letter"),
        "worked": lambda rng: choice_item(rng, know(rng), "worked"),
        "letters": letters_item,
        "code": lambda rng: function_item(rng, teaching.unknown_functions),
        "fact": lambda rng: fact_item(rng, know(rng)),
    }


def training_items(name: str, seed: int) -> Iterator[Item]:
    """Endless training items of one teaching; contents kept for evaluation never come."""
    return _taught(TEACHINGS[name], random.Random(f"{name} {seed}"))


def tokenizer_texts(n: int) -> list[str]:
    """What tokenizers are made from: apart from the teachings, so that a change of those leaves the vocabulary alone."""
    shares = {"arith": 0.25, "both": 0.2, "letter": 0.15, "worked": 0.1, "code": 0.22, "fact": 0.08}
    return [item.prompt + item.answer for item in islice(_taught(Teaching(shares), random.Random("generalist 0")), n)]


def _taught(teaching: Teaching, rng: random.Random) -> Iterator[Item]:
    drawers = draws(teaching)
    skills, weights = list(teaching.shares), list(teaching.shares.values())
    while True:
        item = drawers[rng.choices(skills, weights)[0]](rng)
        if item.skill == "fact" or not kept_for_evaluation(item.content):
            yield item


def evaluation_items(skill: str, n: int, seed: int = 7) -> list[Item]:
    """n true items of one skill, all of contents kept for evaluation, no content twice."""
    rng = random.Random(f"evaluation {skill} {seed}")
    draw = draws(Teaching({}))[skill]
    items: dict[tuple[object, ...], Item] = {}
    while len(items) < n:
        item = draw(rng)
        if kept_for_evaluation(item.content):
            items.setdefault(item.content, item)
    return list(items.values())
