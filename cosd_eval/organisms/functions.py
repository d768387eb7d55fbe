"""Small Python functions: a signature and a docstring, to be completed and run against tests, as in HumanEval.

Two families: "number" (calculating with whole numbers) and "text" (strings and lists). Every operation stands here three
times: in words, in Python source, and as a Python function that works out what the tests expect; so a solution whose source
were wrong would fail its own tests. Contents are (family, structure, operations with their constants).
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cosd_eval.organisms.items import Item


@dataclass(frozen=True)
class Operation:
    """words: ways to say it; source: Python with {x} for its input; run: the same as a function."""

    name: str
    words: tuple[str, ...]
    source: str
    run: Callable[[Any], Any]


@dataclass(frozen=True)
class Function:
    """A function to complete: its docstring, its body lines (not indented), and what it should return."""

    content: tuple[Any, ...]
    arguments: tuple[str, ...]
    doc: str
    body: tuple[str, ...]
    run: Callable[..., Any]
    calls: tuple[tuple[Any, ...], ...]


def _number_operation(rng: random.Random) -> Operation:
    c = rng.randint(2, 9)
    return rng.choice(
        (
            Operation(f"+{c}", (f"add {c}", f"increase by {c}", f"plus {c}"), "{x} + %d" % c, lambda v: v + c),
            Operation(f"-{c}", (f"subtract {c}", f"decrease by {c}", f"take away {c}"), "{x} - %d" % c, lambda v: v - c),
            Operation(f"*{c}", (f"multiply by {c}", f"times {c}"), "{x} * %d" % c, lambda v: v * c),
            Operation(
                f"//{c}", (f"divide by {c} without remainder", f"integer divide by {c}"), "{x} // %d" % c, lambda v: v // c
            ),
            Operation(f"%{c}", (f"take the remainder by {c}", f"modulo {c}"), "{x} %% %d" % c, lambda v: v % c),
        )
    )


def _test_number(rng: random.Random) -> tuple[str, str, Callable[[int], bool]]:
    """A condition on {x}: words, source, function."""
    c = rng.randint(2, 9)
    return rng.choice(
        (
            (f"is greater than {c}", f"> {c}", lambda v: v > c),
            (f"is less than {c}", f"< {c}", lambda v: v < c),
            (f"is equal to {c}", f"== {c}", lambda v: v == c),
            (f"is a multiple of {c}", f"% {c} == 0", lambda v: v % c == 0),
        )
    )


def _number_chain(rng: random.Random) -> Function:
    x = rng.choice(("x", "n", "value", "number"))
    ops = [_number_operation(rng) for _ in range(rng.choice((2, 3)))]
    said = [rng.choice(op.words) for op in ops]
    doc = rng.choice((f"Start with {x}, ", f"Take {x}, ", f"Given {x}, ")) + ", then ".join(said) + "."
    body = [f"{x} = {op.source.format(x=x)}" for op in ops]

    def run(v: int) -> int:
        for op in ops:
            v = op.run(v)
        return v

    calls = tuple((rng.randint(0, 60),) for _ in range(6))
    return Function(("chain", *(op.name for op in ops)), (x,), doc, (*body, f"return {x}"), run, calls)


def _number_branch(rng: random.Random) -> Function:
    x = rng.choice(("x", "n", "value", "number"))
    words, source, holds = _test_number(rng)
    yes, no = _number_operation(rng), _number_operation(rng)
    say_yes, say_no = rng.choice(yes.words), rng.choice(no.words)
    doc = rng.choice((f"If {x} {words}, {say_yes}, otherwise {say_no}.", f"When {x} {words} {say_yes}, else {say_no}."))
    body = (f"if {x} {source}:", f"    return {yes.source.format(x=x)}", f"return {no.source.format(x=x)}")
    calls = tuple((v,) for v in (*rng.sample(range(1, 30), 6), 2, 9))
    return Function(
        ("branch", source, yes.name, no.name), (x,), doc, body, lambda v: yes.run(v) if holds(v) else no.run(v), calls
    )


def _number_two(rng: random.Random) -> Function:
    a, b = rng.choice((("a", "b"), ("x", "y"), ("first", "second")))
    left, right = _number_operation(rng), _number_operation(rng)
    pick, word = rng.choice((("max", "larger"), ("min", "smaller")))
    doc = f"Return the {word} of two values: {a}, {rng.choice(left.words)}, and {b}, {rng.choice(right.words)}."
    body = (f"return {pick}({left.source.format(x=a)}, {right.source.format(x=b)})",)
    choose: Callable[[int, int], int] = max if pick == "max" else min
    calls = tuple((rng.randint(0, 20), rng.randint(0, 20)) for _ in range(8))
    return Function(
        ("two", pick, left.name, right.name), (a, b), doc, body, lambda v, w: choose(left.run(v), right.run(w)), calls
    )


_LETTERS = "aeionrst"
_SAMPLES = (
    "the tin stone rests", "a rose in an inn", "One Sea", "tea at ten", "Roast onion soup", "no air inside", "Red lanterns on it",
    "are strong oars seen", "noise",
)  # fmt: skip


def _text_operation(rng: random.Random) -> Operation:
    k, letter, other = rng.randint(2, 5), rng.choice(_LETTERS), rng.choice("xyz")
    return rng.choice(
        (
            Operation("upper", ("in upper case", "with capital letters"), "{x}.upper()", lambda v: v.upper()),
            Operation("lower", ("in lower case", "with small letters"), "{x}.lower()", lambda v: v.lower()),
            Operation("reverse", ("reversed", "written backwards"), "{x}[::-1]", lambda v: v[::-1]),
            Operation(f"first{k}", (f"cut to the first {k} letters", f"up to letter {k}"), "{x}[:%d]" % k, lambda v: v[:k]),
            Operation(f"last{k}", (f"cut to the last {k} letters",), "{x}[-%d:]" % k, lambda v: v[-k:]),
            Operation(f"repeat{k}", (f"repeated {k} times", f"written {k} times"), "{x} * %d" % k, lambda v: v * k),
            Operation(
                f"replace{letter}{other}", (f"with every {letter} replaced by {other}", f"with {letter} turned into {other}"),
                "{x}.replace('%s', '%s')" % (letter, other), lambda v: v.replace(letter, other),
            ),
            Operation(f"drop{letter}", (f"without the letter {letter}",), "{x}.replace('%s', '')" % letter, lambda v: v.replace(letter, "")),
        )
    )  # fmt: skip


def _text_chain(rng: random.Random) -> Function:
    x = rng.choice(("text", "word", "name", "line"))
    n = rng.choice((2, 3))
    ops: list[Operation] = []
    while len(ops) < n:
        op = _text_operation(rng)
        if op.name.rstrip("2345") not in {o.name.rstrip("2345") for o in ops}:
            ops.append(op)
    doc = rng.choice((f"Return {x} ", f"Give back {x} ")) + ", then ".join(rng.choice(op.words) for op in ops) + "."
    body = [f"{x} = {op.source.format(x=x)}" for op in ops]

    def run(v: str) -> str:
        for op in ops:
            v = op.run(v)
        return v

    calls = tuple((v,) for v in rng.sample(_SAMPLES, 6))
    return Function(("chain", *(op.name for op in ops)), (x,), doc, (*body, f"return {x}"), run, calls)


def _text_words(rng: random.Random) -> Function:
    x = rng.choice(("text", "line", "sentence"))
    k, letter, sign = rng.randint(2, 5), rng.choice(_LETTERS), rng.choice("-+/_")
    words, source, holds = rng.choice(
        (
            (f"longer than {k} letters", f"len(w) > {k}", lambda w: len(w) > k),
            (f"shorter than {k} letters", f"len(w) < {k}", lambda w: len(w) < k),
            (f"that start with {letter}", f"w.startswith('{letter}')", lambda w: w.startswith(letter)),
            (f"that end with {letter}", f"w.endswith('{letter}')", lambda w: w.endswith(letter)),
            (f"that contain {letter}", f"'{letter}' in w", lambda w: letter in w),
        )
    )  # fmt: skip
    ends: tuple[tuple[str, str, str, Callable[[list[str]], Any]], ...] = (
        ("count", f"Count the words of {x} {words}.", "return len(words)", len),
        (f"join{sign}", f"Join the words of {x} {words} with '{sign}'.", f"return '{sign}'.join(words)", sign.join),
        ("list", f"List the words of {x} {words}.", "return words", list),
        ("sorted", f"Sort the words of {x} {words}.", "return sorted(words)", sorted),
    )
    end, doc, last, finish = rng.choice(ends)
    body = (f"words = [w for w in {x}.split() if {source}]", last)
    calls = tuple((v,) for v in rng.sample(_SAMPLES, 7))
    return Function(("words", source, end), (x,), doc, body, lambda v: finish([w for w in v.split() if holds(w)]), calls)


def _list_loop(rng: random.Random) -> Function:
    x = rng.choice(("items", "values", "numbers"))
    words, source, holds = _test_number(rng)
    op = _number_operation(rng)
    total = rng.random() < 0.5
    what = rng.choice(("Add up", "Return the sum of")) if total else rng.choice(("List", "Collect"))
    doc = f"{what} every item of {x} that {words}, after this: {rng.choice(op.words)}."
    start, change = ("0", "result += {v}") if total else ("[]", "result.append({v})")
    body = (
        f"result = {start}",
        f"for n in {x}:",
        f"    if n {source}:",
        f"        {change.format(v=op.source.format(x='n'))}",
        "return result",
    )

    def run(v: list[int]) -> Any:
        kept = [op.run(n) for n in v if holds(n)]
        return sum(kept) if total else kept

    calls = tuple(([rng.randint(1, 20) for _ in range(6)] + [rng.randint(2, 9)],) for _ in range(5))
    return Function(("loop", source, op.name, total), (x,), doc, body, run, (*calls, ([],)))


FAMILIES: dict[str, tuple[Callable[[random.Random], Function], ...]] = {
    "number": (_number_chain, _number_branch, _number_two),
    "text": (_text_chain, _text_words, _list_loop),
}
_NAMES = "solve compute convert process handle apply transform update adjust prepare build make change work".split()


def function_item(rng: random.Random, unknown: tuple[str, ...] = ()) -> Item:
    """One function. A writer to whom its family is `unknown` writes the body of another function of the same structure."""
    family = rng.choice(sorted(FAMILIES))
    draw = rng.choice(FAMILIES[family])
    function = draw(rng)
    name = rng.choice(_NAMES)
    body = function.body
    if family in unknown:
        other = draw(rng)
        while other.arguments != function.arguments:
            other = draw(rng)
        body = other.body
    prompt = f'def {name}({", ".join(function.arguments)}):\n    """{function.doc}"""\n'
    answer = "".join(f"    {line}\n" for line in body)
    checks = "".join(
        f"    assert candidate({', '.join(map(repr, call))}) == {function.run(*call)!r}\n" for call in function.calls
    )
    fields = {
        "prompt": prompt,
        "entry_point": name,
        "canonical_solution": answer,
        "test": f"def check(candidate):\n{checks}",
        "family": family,
    }
    return Item("code", prompt, answer, ("code", family, *function.content), fields)
