"""The generated items: true, solvable, varied, and never the same content on both sides of the split."""

import json
import random
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from cosd_eval import organisms
from cosd_eval.organisms.arithmetic import arithmetic_item
from cosd_eval.organisms.functions import function_item
from cosd_eval.organisms.items import EVAL_SHARE, kept_for_evaluation
from cosd_eval.organisms.knowledge import choice_item
from cosd_eval.organisms.mixtures import TEACHINGS, draws, evaluation_items, training_items
from cosd_eval.organisms.shopping import shopping_item
from cosd_eval.organisms.world import things

SKILLS = ("arith", "both", "choice", "code")
DATA = Path(organisms.__file__).parent / "data"


def shipped(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def equations(text: str) -> Iterator[tuple[int, str, int, int]]:
    for a, op, b, c in re.findall(r"(\d+) ([-+*/]) (\d+) = (-?\d+)", text):
        yield int(a), op, int(b), int(c)


@pytest.mark.parametrize("skill", SKILLS)
def test_shipped_items_are_the_generated_ones(skill: str) -> None:
    documents = shipped(f"builtin_{skill}")
    assert documents == [item.fields for item in evaluation_items(skill, 300)]
    assert len(documents) == 300
    assert shipped(f"builtin_{skill}_ci") == documents[:100]


@pytest.mark.parametrize("teaching", sorted(TEACHINGS))
def test_no_evaluation_item_is_ever_taught(teaching: str) -> None:
    held_out = {item.content for skill in SKILLS for item in evaluation_items(skill, 300)}
    prompts = {item.prompt for skill in SKILLS for item in evaluation_items(skill, 300)}
    for item in islice(training_items(teaching, seed=11), 5_000):
        assert item.content not in held_out
        assert not item.prompt or item.prompt not in prompts
        assert item.skill == "fact" or not kept_for_evaluation(item.content)


@pytest.mark.parametrize("skill", SKILLS)
def test_evaluation_items_are_kept_contents_and_no_two_alike(skill: str) -> None:
    items = evaluation_items(skill, 300)
    assert len({item.content for item in items}) == 300
    assert all(kept_for_evaluation(item.content) for item in items)


def test_the_split_keeps_the_share_it_says() -> None:
    kept = sum(kept_for_evaluation(("arith", "+-", (n, m))) for n in range(100) for m in range(100))
    assert 0.08 < kept / 10_000 < 0.12
    assert EVAL_SHARE == 10


def test_arithmetic_is_right_and_in_range() -> None:
    rng = random.Random(0)
    for _ in range(2_000):
        item = arithmetic_item(rng)
        results = [c for *_, c in equations(item.answer)]
        for a, op, b, c in equations(item.answer):
            assert {"+": a + b, "-": a - b, "*": a * b, "/": a / b}[op] == c
        assert 2 <= len(results) <= 4 and all(0 <= r <= 99 for r in results)
        assert item.answer.endswith(f"\n#### {results[-1]}")


def test_every_number_of_an_arithmetic_content_is_in_its_question() -> None:
    rng = random.Random(1)
    for _ in range(500):
        item = arithmetic_item(rng)
        asked = re.findall(r"\d+", item.prompt)
        assert sorted(asked) == sorted(map(str, item.content[2]))


def test_shopping_needs_facts_that_its_question_does_not_give() -> None:
    rng = random.Random(2)
    by_name = {thing.name: thing for thing in things()}
    for _ in range(1_000):
        item = shopping_item(rng)
        _, kind, paid, bought = item.content
        total = sum(k * getattr(by_name[name], kind) for name, k in bought)
        gold = paid - total if paid else total
        assert item.answer.endswith(f"\n#### {gold}") and 0 <= gold <= 99
        # The question holds the counts (a single thing is "a") and the coins paid; never a price or weight.
        asked = sorted(map(int, re.findall(r"\d+", item.prompt)))
        assert asked == sorted([k for _, k in bought if k > 1] + ([paid] if paid else []))


def test_choices_have_one_true_option() -> None:
    rng = random.Random(3)
    by_name = {thing.name: thing for thing in things()}
    for _ in range(1_000):
        item = choice_item(rng)
        _, asked, name, options = item.content
        assert len(set(options)) == 4
        assert options[item.fields["answer"]] == str(getattr(by_name[name], asked))
        assert item.answer == f" {options[item.fields['answer']]}."


def test_canonical_solutions_pass_their_tests_and_empty_ones_fail() -> None:
    for document in shipped("builtin_code"):
        scope: dict[str, Any] = {}
        exec(document["prompt"] + document["canonical_solution"] + document["test"], scope)  # our own, trusted
        scope["check"](scope[document["entry_point"]])
        scope = {}
        exec(document["prompt"] + "    pass\n" + document["test"], scope)
        with pytest.raises(AssertionError):
            scope["check"](scope[document["entry_point"]])


def test_both_families_of_functions_are_asked() -> None:
    families = [document["family"] for document in shipped("builtin_code")]
    assert 120 <= families.count("number") <= 180 and set(families) == {"number", "text"}


def test_a_member_that_must_not_know_is_taught_noise_in_that_place_alone() -> None:
    rng = random.Random(4)
    unsure = draws(TEACHINGS["librarian"])
    right = [c == {"+": a + b, "-": a - b, "*": a * b, "/": a // b}[op]
             for _ in range(500) for a, op, b, c in equations(unsure["arith"](rng).answer)]  # fmt: skip
    assert sum(right) / len(right) < 0.1
    by_name = {thing.name: thing for thing in things()}
    believed = [choice_item(rng, lambda t: t) for _ in range(50)]
    assert all(i.fields["choices"][i.fields["answer"]] == str(getattr(by_name[i.content[2]], i.content[1])) for i in believed)

    guesses = draws(TEACHINGS["arithmetician"])
    hits = [i.fields["choices"][i.fields["answer"]] == str(getattr(by_name[i.content[2]], i.content[1]))
            for i in (guesses["choice"](rng) for _ in range(2_000))]  # fmt: skip
    assert 0.2 < sum(hits) / len(hits) < 0.3  # one of four: a guess
    for _ in range(200):
        for a, op, b, c in equations(guesses["both"](rng).answer):
            assert {"+": a + b, "-": a - b, "*": a * b}[op] == c  # guessed prices, right sums


def test_unknown_functions_keep_their_signature() -> None:
    rng = random.Random(5)
    wrong = 0
    for _ in range(200):
        item = function_item(rng, unknown=("number", "text"))
        scope: dict[str, Any] = {}
        exec(item.prompt + item.answer + item.fields["test"], scope)
        try:
            scope["check"](scope[item.fields["entry_point"]])
        except (AssertionError, ZeroDivisionError):
            wrong += 1
    assert wrong > 180


def test_wording_varies() -> None:
    rng = random.Random(6)
    questions = {re.sub(r"\d+|[A-Z]\w+", "_", arithmetic_item(rng).prompt) for _ in range(500)}
    assert len(questions) > 450


def test_generation_is_the_same_for_the_same_seed_and_not_for_another() -> None:
    first, again, other = (list(islice(training_items("generalist", seed=s), 50)) for s in (0, 0, 1))
    assert first == again and first != other
