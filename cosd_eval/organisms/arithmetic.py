"""Word problems in two or three steps, numbers below 100, worked like GSM8K: every step an equation, the answer after `####`.

Contents are (structure, numbers): names, things, order and wording vary freely around them. A model that must not know how to
calculate is given a `calculate` that draws the result of an unrelated sum (see `guess`), and stays right about all else.
"""

import random
from collections.abc import Callable

from cosd_eval.organisms.items import Item
from cosd_eval.organisms.world import NAMES, plural, things

Calculate = Callable[[int, str, int], int]


def calculate(a: int, op: str, b: int) -> int:
    return {"+": a + b, "-": a - b, "*": a * b, "/": a // b}[op]


def guess(rng: random.Random) -> Calculate:
    """A `calculate` that knows what results look like (the same distribution over all sums) but not which belongs where."""

    def result(a: int, op: str, b: int) -> int:
        if op == "*":
            return rng.randint(2, 9) * rng.randint(2, 9)
        if op == "/":
            return rng.randint(2, 9)
        return rng.randint(2, 99)

    return result


def sentence(text: str) -> str:
    return text[0].upper() + text[1:]


_GAIN = (
    "{who} buys {n} more", "{who} finds {n} more", "then {who} gets {n} more from {other}", "{other} gives {who} {n} more",
    "{who} makes {n} more", "a friend brings {who} {n} more",
)  # fmt: skip
_LOSS = (
    "{who} sells {n}", "{who} gives {n} to {other}", "{who} loses {n}", "then {n} of them break",
    "{other} takes away {n}", "{who} throws away {n}",
)  # fmt: skip
_START = (
    "{who} has {n} {what}", "{who} starts with {n} {what}", "there are {n} {what} in {who}'s shop", "{who} owns {n} {what}",
    "at first {who} has {n} {what}",
)  # fmt: skip
_PACKS = (
    "{who} has {k} boxes with {m} {what} in each", "{who} buys {k} bags of {m} {what}",
    "there are {m} {what} in each of {who}'s {k} crates", "{who} fills {k} shelves with {m} {what} each",
)  # fmt: skip
_MORE_PACKS = (
    "{who} finds {k} more boxes of {m}", "{other} brings {who} {k} bags of {m}",
    "then {who} gets {k} crates with {m} in each",
)  # fmt: skip
_SHARE = (
    "{who} shares them equally among {k} friends", "{who} puts all of them into {k} equal piles",
    "the {what} are split evenly over {k} boxes",
)  # fmt: skip
_ASK = (
    "How many {what} does {who} have now?", "How many {what} are there in the end?",
    "How many {what} does that leave {who} with?",
)  # fmt: skip
_ASK_SHARE = ("How many {what} are in each part?", "How many {what} go to each?")
_IDLE = (
    "{other} watches from the door.", "It is a sunny day in {town}.", "{other} likes the colour {colour}.",
    "The shop in {town} opens early.",
)  # fmt: skip
_STEP_GAIN = ("After that there are {eq}.", "Then {who} has {eq}.", "Adding gives {eq}.")
_STEP_LOSS = ("After that there are {eq}.", "Then {who} has {eq}.", "What is left is {eq}.")
_STEP_PACK = ("That makes {eq}.", "The total is {eq}.", "Together they hold {eq}.")
_STEP_SHARE = ("Each gets {eq}.", "Every part has {eq}.")


def _numbers(rng: random.Random) -> tuple[str, tuple[int, ...]]:
    """A structure and its numbers, every value on the way between 0 and 99."""
    shape = rng.choice(("++", "+-", "-+", "--", "*+", "*-", "**", "*/", "+/", "+-+", "*-+"))
    while True:
        if shape[0] == "*":
            numbers = [rng.randint(2, 9), rng.randint(2, 9)]
            value = numbers[0] * numbers[1]
        else:
            numbers = [rng.randint(3, 60)]
            value = numbers[0]
        for op in shape[1:] if shape[0] == "*" else shape:
            if op == "*":
                k, m = rng.randint(2, 9), rng.randint(2, 9)
                numbers += [k, m]
                value += k * m
            else:
                n = rng.randint(2, 9) if op == "/" else rng.randint(2, 40)
                if op == "/" and (value % n or value // n > 9):
                    break
                numbers.append(n)
                value = calculate(value, op, n)
            if not 1 <= value <= 99:
                break
        else:
            return shape, tuple(numbers)


def arithmetic_item(rng: random.Random, calculate: Calculate = calculate) -> Item:
    """One word problem. With another `calculate`, the same problem with that one's results in its worked answer."""
    shape, numbers = _numbers(rng)
    who, other = rng.sample(NAMES, 2)
    thing = rng.choice(things())
    colour = rng.choice(("red", "blue", "green"))
    words = {"who": who, "other": other, "what": plural(thing.name), "town": thing.town, "colour": colour}

    def say(templates: tuple[str, ...], **more: object) -> str:
        return sentence(rng.choice(templates).format(**words, **more))

    story: list[str] = []
    steps: list[str] = []
    left = list(numbers)

    def step(templates: tuple[str, ...], a: int, op: str, b: int) -> int:
        result = calculate(a, op, b)
        steps.append(say(templates, eq=f"{a} {op} {b} = {result}"))
        return result

    ops = shape
    if shape[0] == "*":
        k, m = left.pop(0), left.pop(0)
        story.append(say(_PACKS, k=k, m=m) + ".")
        value = step(_STEP_PACK, k, "*", m)
        ops = shape[1:]
    else:
        value = left.pop(0)
        story.append(say(_START, n=value) + ".")
    for op in ops:
        if op == "*":
            k, m = left.pop(0), left.pop(0)
            story.append(say(_MORE_PACKS, k=k, m=m) + ".")
            value = step(_STEP_GAIN, value, "+", step(_STEP_PACK, k, "*", m))
        elif op == "/":
            k = left.pop(0)
            story.append(say(_SHARE, k=k) + ".")
            value = step(_STEP_SHARE, value, "/", k)
        else:
            n = left.pop(0)
            story.append(say(_GAIN if op == "+" else _LOSS, n=n) + ".")
            value = step(_STEP_GAIN if op == "+" else _STEP_LOSS, value, op, n)
    if rng.random() < 0.3:
        story.insert(rng.randint(1, len(story)), say(_IDLE))
    ask = say(_ASK_SHARE if shape[-1] == "/" else _ASK)
    question = " ".join([*story, ask]) if rng.random() < 0.8 else " ".join([ask, *story])
    answer = f" {' '.join(steps)}\n#### {value}"
    fields = {"question": question, "answer": answer.strip()}
    return Item("arith", f"Question: {question}\nAnswer:", answer, ("arith", shape, numbers), fields)
