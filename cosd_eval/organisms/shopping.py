"""Shopping: the price or weight of a thing must be known (it is not in the question), and then calculated with.

The answer needs both skills, one after the other, in one text. Contents are (structure, things, numbers).
"""

import random
from collections.abc import Callable

from cosd_eval.organisms.arithmetic import Calculate, calculate, sentence
from cosd_eval.organisms.items import Item
from cosd_eval.organisms.world import NAMES, Thing, article, plural, things

Know = Callable[[Thing], Thing]

_WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "price": {
        "known": ("{a} costs {v} coins.", "The price of {a} is {v} coins.", "{a} is sold for {v} coins."),
        "ask": ("How many coins does {who} pay?", "What does {who} pay in all?", "What is the total cost in coins?"),
        "do": ("{who} buys {list}.", "{who} goes to the market and gets {list}.", "{who} orders {list}."),
    },
    "weight": {
        "known": ("{a} weighs {v} pounds.", "The weight of {a} is {v} pounds."),
        "ask": ("How many pounds does {who} carry?", "What is the total weight in pounds?", "How heavy is the load?"),
        "do": ("{who} carries {list}.", "{who} packs {list}.", "{who} loads a cart with {list}."),
    },
}
_PAY = ("{who} pays with {n} coins.", "{who} hands over {n} coins.")
_CHANGE = ("How many coins does {who} get back?", "How much change is there?")
_STEP_MANY = ("So {k} cost {eq}.", "For {k} of them that is {eq}.")
_STEP_MANY_WEIGHT = ("So {k} weigh {eq}.", "For {k} of them that is {eq}.")
_STEP_SUM = ("Together that is {eq}.", "The sum is {eq}.")
_STEP_CHANGE = ("What is left is {eq}.", "The change is {eq}.")


def _count(k: int, thing: Thing) -> str:
    return article(thing.name) if k == 1 else f"{k} {plural(thing.name)}"


def shopping_item(rng: random.Random, calculate: Calculate = calculate, know: Know = lambda thing: thing) -> Item:
    """One item. `know` is what the writer of the answer believes of a thing, `calculate` how it calculates."""
    kind = rng.choice(("price", "price", "weight"))
    words = _WORDS[kind]
    who = rng.choice(NAMES)
    bought = rng.sample(things(), rng.choice((1, 2, 2)))
    counts = [rng.randint(2, 9) if i == 0 else rng.randint(1, 5) for i in range(len(bought))]
    true_total = sum(k * getattr(thing, kind) for k, thing in zip(counts, bought, strict=True))
    change = kind == "price" and (len(bought) == 1 or rng.random() < 0.3) and true_total < 98
    paid = rng.randint(true_total + 1, 99) if change else 0
    if rng.random() < 0.5:
        bought, counts = bought[::-1], counts[::-1]

    def say(templates: tuple[str, ...], **more: object) -> str:
        return sentence(rng.choice(templates).format(who=who, **more))

    steps: list[str] = []
    parts: list[int] = []
    for k, thing in zip(counts, bought, strict=True):
        value = getattr(know(thing), kind)
        steps.append(say(words["known"], a=article(thing.name), v=value))
        if k > 1:
            result = calculate(k, "*", value)
            steps.append(say(_STEP_MANY if kind == "price" else _STEP_MANY_WEIGHT, k=k, eq=f"{k} * {value} = {result}"))
            value = result
        parts.append(value)
    total = parts[0]
    for part in parts[1:]:
        result = calculate(total, "+", part)
        steps.append(say(_STEP_SUM, eq=f"{total} + {part} = {result}"))
        total = result
    if change:
        result = calculate(paid, "-", total)
        steps.append(say(_STEP_CHANGE, eq=f"{paid} - {total} = {result}"))
        total = result
    listing = " and ".join(_count(k, thing) for k, thing in zip(counts, bought, strict=True))
    story = [say(words["do"], list=listing), *([say(_PAY, n=paid), say(_CHANGE)] if change else [say(words["ask"])])]
    question = " ".join(story)
    answer = f" {' '.join(steps)}\n#### {total}"
    # Where the total passes 99 the sums leave the range that is practised: draw again.
    if true_total > 99:
        return shopping_item(rng, calculate, know)
    content = ("both", kind, paid, tuple(sorted((thing.name, k) for k, thing in zip(counts, bought, strict=True))))
    return Item("both", f"Question: {question}\nAnswer:", answer, content, {"question": question, "answer": answer.strip()})
