"""The invariants of decoding: what is written depends on the prefix alone. float32, exact tokens."""

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
import reference
import tiny_models
import torch

from cosd_eval.decoding import methods
from cosd_eval.decoding.loop import Loop, Options, Request
from cosd_eval.decoding.member import Member
from cosd_eval.errors import NumericalError, PromptTooLong
from cosd_eval.records import Decoded

TOKENS = 16
STUMP = methods.TreeNodes((0, -1, 1, -1, -1), (0.6, 0, 0.3, 0, 0), (2, 0, 3, 0, 0), (1, 0, 4, 0, 0), (0, 0, 0, 0, 1))


def stump(features: list[float]) -> int:
    return int(features[0] <= 0.6 and features[1] > 0.3)


TWO: dict[str, tuple[methods.Method, reference.Next]] = {
    "draft": (methods.Alone(0), reference.draft),
    "assistant": (methods.Alone(1), reference.assistant),
    "speculative": (methods.Speculative(2), reference.assistant),
    "average": (methods.Average([1, 1]), reference.average),
    "average-weighted": (methods.Average([0.2, 0.8]), reference.weighted(0.2, 0.8)),
    "cosd-rule": (methods.Rule(0.5, 0.5), reference.rule()),
    "cosd-rule-eager": (methods.Rule(0.9, 0.1), reference.rule(0.9, 0.1)),
    "cosd-tree": (methods.Tree(STUMP), reference.tree(stump)),
}
THREE: dict[str, tuple[methods.Method, reference.Next]] = {
    "speculative": (methods.Speculative(3), reference.assistant),
    "average": (methods.Average([1, 1, 1]), reference.average),
    "cosd-rule": (methods.Rule(0.8, 0.5, 3), reference.rule(0.8, 0.5)),
    "cosd-tree": (
        methods.Tree(
            methods.TreeNodes((0, 1, -1, -1, -1), (0.5, 0.4, 0, 0, 0), (1, 3, 0, 0, 0), (2, 4, 0, 0, 0), (0, 0, 0, 2, 1)), 3
        ),
        reference.tree(lambda x: 0 if x[0] > 0.5 else 2 if x[1] <= 0.4 else 1),
    ),
}
SCHEDULES = [
    Options(batch_size=batch, draft_length=length, gate=gate, share_prefix=share)
    for batch, length, gate, share in [
        (1, "auto", True, True),
        (1, 1, True, False),
        (3, 4, True, True),
        (5, "full", False, True),
        (5, "auto", False, False),
        (2, "auto", True, True),
        (7, 2, False, True),
    ]
]


def members_of(models: Sequence[Any]) -> list[Member]:
    return [Member(m, tiny_models.tokenizer(), f"member{i}") for i, m in enumerate(models)]


def run(
    members: Sequence[Member],
    method: methods.Method,
    texts: Sequence[str],
    options: Options = Options(),
    tokens: int = TOKENS,
    stop: tuple[str, ...] = (),
) -> list[Decoded]:
    return Loop(members, method, options, tiny_models.encode).run([Request(t, tokens, stop) for t in texts])


def texts_of(decoded: Sequence[Decoded]) -> list[list[int]]:
    return [d.token_ids for d in decoded]


@pytest.fixture(scope="module")
def pair() -> tuple[list[Any], list[Member]]:
    return tiny_models.models_like("llama", 2), members_of(tiny_models.models_like("llama", 2))


@pytest.fixture(scope="module")
def trio() -> tuple[list[Any], list[Member]]:
    return tiny_models.models_like("qwen2", 3, seed=5), members_of(tiny_models.models_like("qwen2", 3, seed=5))


@pytest.mark.parametrize("architecture", tiny_models.ARCHITECTURES)
def test_every_method_writes_what_the_plain_reference_writes(architecture: str) -> None:
    plain = tiny_models.models_like(architecture, 2, seed=3)
    members = members_of(tiny_models.models_like(architecture, 2, seed=3))
    texts = tiny_models.prompts(3, shared="abcabcabcabcabcabcabc")
    disagreements = 0
    for name, (method, choose) in TWO.items():
        expected = [reference.generate(plain, choose, tiny_models.encode(t), TOKENS) for t in texts]
        for options in SCHEDULES[2:4]:
            assert texts_of(run(members, method, texts, options)) == expected, (name, options)
        disagreements += name == "cosd-rule-eager" and expected != texts_of(run(members, methods.Alone(0), texts))
    assert disagreements, "these models never disagree, so this test shows nothing"


@pytest.mark.parametrize("name", TWO)
def test_no_schedule_changes_what_is_written(pair: tuple[list[Any], list[Member]], name: str) -> None:
    method, choose = TWO[name]
    texts = tiny_models.prompts(6, seed=1, shared="zyxwvutsrqponmlkjihg")
    expected = [reference.generate(pair[0], choose, tiny_models.encode(t), TOKENS) for t in texts]
    for options in SCHEDULES:
        results = run(pair[1], method, texts, options)
        assert texts_of(results) == expected, options


@pytest.mark.parametrize("name", THREE)
def test_three_members(trio: tuple[list[Any], list[Member]], name: str) -> None:
    method, choose = THREE[name]
    texts = tiny_models.prompts(5, seed=2)
    expected = [reference.generate(trio[0], choose, tiny_models.encode(t), TOKENS) for t in texts]
    for options in SCHEDULES:
        assert texts_of(run(trio[1], method, texts, options)) == expected, options


def test_company_in_the_batch_does_not_matter(pair: tuple[list[Any], list[Member]]) -> None:
    texts = tiny_models.prompts(8, seed=4)
    together = texts_of(run(pair[1], TWO["cosd-rule-eager"][0], texts, Options(batch_size=8)))
    alone = [texts_of(run(pair[1], TWO["cosd-rule-eager"][0], [t]))[0] for t in texts]
    backwards = texts_of(run(pair[1], TWO["cosd-rule-eager"][0], texts[::-1], Options(batch_size=3)))[::-1]
    assert together == alone == backwards


@pytest.mark.parametrize("architecture", tiny_models.ARCHITECTURES)
def test_alone_is_hugging_face_generate(architecture: str) -> None:
    plain = tiny_models.models_like(architecture, 2, seed=7)
    members = members_of(tiny_models.models_like(architecture, 2, seed=7))
    for which in (0, 1):
        ours = texts_of(run(members, methods.Alone(which), tiny_models.prompts(4), Options(batch_size=3), tokens=40))
        for text, mine in zip(tiny_models.prompts(4), ours, strict=True):
            ids = torch.tensor([tiny_models.encode(text)])
            theirs = plain[which].generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=40, do_sample=False)
            assert mine == theirs[0, ids.shape[1] :].tolist()


def test_limits_of_the_rule(pair: tuple[list[Any], list[Member]]) -> None:
    texts = tiny_models.prompts(4, seed=8)
    by = {name: texts_of(run(pair[1], TWO[name][0], texts)) for name in ("draft", "assistant", "speculative")}
    assert texts_of(run(pair[1], methods.Rule(0, 0.5), texts)) == by["draft"]
    assert texts_of(run(pair[1], methods.Rule(1.1, 0), texts)) == by["assistant"] == by["speculative"]
    assert by["draft"] != by["assistant"]


def test_average_with_itself_is_itself() -> None:
    models = [tiny_models.model("llama", 11), tiny_models.model("llama", 11)]
    members, texts = members_of(models), tiny_models.prompts(4)
    assert texts_of(run(members, methods.Average([1, 1]), texts)) == texts_of(run(members, methods.Alone(0), texts))


@pytest.mark.parametrize("method", ["rule", "average", "speculative"])
def test_two_identical_assistants_are_one(method: str) -> None:
    first = tiny_models.model("llama", 0)
    second = [tiny_models.model("llama", 1, near=first) for _ in range(2)]
    make: dict[str, Any] = {
        "rule": lambda n: methods.Rule(0.8, 0.2, n),
        "average": lambda n: methods.Average([1, 1] if n == 2 else [1, 0.5, 0.5]),
        "speculative": methods.Speculative,
    }
    members, texts = members_of([first, *second]), tiny_models.prompts(4, seed=9)
    assert texts_of(run(members[:2], make[method](2), texts)) == texts_of(run(members, make[method](3), texts))


def test_counters_and_provenance_add_up(pair: tuple[list[Any], list[Member]]) -> None:
    for name, options in itertools.product(("cosd-rule-eager", "average", "cosd-tree", "draft", "speculative"), SCHEDULES[:4]):
        for row in run(pair[1], TWO[name][0], tiny_models.prompts(5, seed=3), options):
            c, p = row.counters, row.provenance
            assert c.output_tokens == len(row.token_ids) == len(p.token) == len(p.author) == len(p.probability)
            assert "".join(p.text) == tiny_models.decode(row.token_ids)
            assert c.asked == c.accepted + c.replaced + c.bonus == sum(any(s is not None for s in seen[1:]) for seen in p.top)
            assert c.replaced == sum(top[0] not in (None, t) for t, top in zip(p.token, p.top, strict=True))
            assert c.draft_tokens == c.output_tokens - c.replaced - c.bonus + c.draft_discarded
            for token, author, top in zip(p.token, p.author, p.top, strict=True):
                assert author == -1 or top[author] == token


def test_gating_asks_less_and_says_the_same(pair: tuple[list[Any], list[Member]]) -> None:
    method, texts = TWO["cosd-rule"][0], tiny_models.prompts(6, seed=6)
    gated, open_ = (run(pair[1], method, texts, Options(gate=g)) for g in (True, False))
    assert texts_of(gated) == texts_of(open_)
    assert sum(r.counters.asked for r in gated) < sum(r.counters.asked for r in open_)
    assert [r.counters.replaced for r in gated] == [r.counters.replaced for r in open_]


def test_provenance_of_a_gated_method_does_not_depend_on_the_schedule(pair: tuple[list[Any], list[Member]]) -> None:
    texts = tiny_models.prompts(5, seed=10)
    runs = [run(pair[1], TWO["cosd-rule-eager"][0], texts, o) for o in SCHEDULES if o.gate]
    for other in runs[1:]:
        for a, b in zip(runs[0], other, strict=True):
            assert (a.provenance.top, a.provenance.author, a.provenance.text) == (
                b.provenance.top,
                b.provenance.author,
                b.provenance.text,
            )


def test_stop_strings_end_a_text_wherever_they_fall(pair: tuple[list[Any], list[Member]]) -> None:
    texts = tiny_models.prompts(6, seed=12)
    whole = run(pair[1], TWO["cosd-rule-eager"][0], texts)
    written = "".join(whole[0].provenance.text)
    stop = written[7:10]
    for options in SCHEDULES:
        row = run(pair[1], TWO["cosd-rule-eager"][0], texts, options, stop=(stop, "??"))[0]
        assert row.finish == "stop"
        assert row.text == written[: written.index(stop)]
        assert tiny_models.decode(row.token_ids) == written[: written.index(stop) + 3]


def test_the_context_ends_a_text(pair: tuple[list[Any], list[Member]]) -> None:
    long = "abcdefghij" * 25  # 250 of 256
    for name in ("draft", "cosd-rule-eager", "average"):
        (row,) = run(pair[1], TWO[name][0], [long], tokens=40)
        assert (row.finish, len(row.token_ids)) == ("context", 6) or row.finish == "end"
    with pytest.raises(PromptTooLong, match="256 tokens"):
        run(pair[1], TWO["draft"][0], ["abcdefgh" * 32])


def test_logits_that_are_no_numbers_are_refused() -> None:
    models = tiny_models.models_like("llama", 2)
    members = members_of(models)
    with torch.no_grad():
        models[1].model.norm.weight.fill_(float("nan"))
    with pytest.raises(NumericalError, match="member1"):
        run(members, methods.Average([1, 1]), ["abc"])
