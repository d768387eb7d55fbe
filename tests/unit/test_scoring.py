"""Log-likelihoods: sums of log-probabilities under the distribution that a method induces."""

import math
from typing import Any

import pytest
import reference
import tiny_models
import torch

from cosd_eval.decoding import methods
from cosd_eval.decoding.loop import Options
from cosd_eval.decoding.member import Member
from cosd_eval.decoding.scoring import ScoreRequest, score
from cosd_eval.errors import PromptTooLong

METHODS: dict[str, methods.Method] = {
    "draft": methods.Alone(0),
    "assistant": methods.Alone(1),
    "speculative": methods.Speculative(2),
    "average": methods.Average([1, 3]),
    "cosd-rule": methods.Rule(0.7, 0.3),
}
INDUCED: dict[str, Any] = {
    "draft": lambda p: p[0],
    "assistant": lambda p: p[1],
    "speculative": lambda p: p[1],
    "average": lambda p: 0.25 * p[0] + 0.75 * p[1],
    "cosd-rule": lambda p: p[1] if reference.rule(0.7, 0.3)(p) != int(p[0].argmax()) else p[0],
}


@pytest.fixture(scope="module")
def models() -> list[Any]:
    return tiny_models.models_like("llama", 2)


@pytest.fixture(scope="module")
def members() -> list[Member]:
    return [Member(m, tiny_models.tokenizer(), "m") for m in tiny_models.models_like("llama", 2)]


def requests() -> list[ScoreRequest]:
    contexts = [tiny_models.encode(t) for t in tiny_models.prompts(4, shared="abcdefghijklmnopqrstuvwxyz")]
    endings = [tiny_models.encode(t) for t in ("a", "b", "hello", "help", "xyzxyzxyz")]
    return [ScoreRequest(tuple(c), tuple(e)) for c in contexts for e in endings]


def expected(models: list[Any], request: ScoreRequest, name: str) -> tuple[float, bool]:
    total, greedy, ids = 0.0, True, list(request.context)
    for token in request.continuation:
        induced = INDUCED[name](reference.distributions(models, ids))
        total += math.log(induced[token])
        greedy &= int(induced.argmax()) == token
        ids.append(token)
    return total, greedy


@pytest.mark.parametrize("options", [Options(batch_size=1), Options(batch_size=7), Options(batch_size=20, share_prefix=False)])
def test_sums_of_the_induced_distribution(models: list[Any], members: list[Member], options: Options) -> None:
    seen: dict[int, Any] = {}
    results = score(members, list(METHODS.values()), requests(), options, lambda i, r: seen.update({i: r}))
    assert [seen[i] for i in range(len(results))] == results
    for request, scored in zip(requests(), results, strict=True):
        for name, mine in zip(METHODS, scored, strict=True):
            total, greedy = expected(models, request, name)
            assert mine.log_likelihood == pytest.approx(total, abs=2e-4), (name, request)
            assert mine.is_greedy == greedy
            assert len(mine.per_token) == len(mine.members) == len(request.continuation)


@pytest.mark.parametrize("name", METHODS)
def test_probabilities_of_all_tokens_sum_to_one(members: list[Member], name: str) -> None:
    context = tuple(tiny_models.encode("someContext"))
    all_tokens = [ScoreRequest(context, (t,)) for t in range(tiny_models.VOCABULARY)]
    results = score(members, [METHODS[name]], all_tokens, Options())
    assert sum(math.exp(r[0].log_likelihood) for r in results) == pytest.approx(1, abs=1e-5)
    assert sum(r[0].is_greedy for r in results) == 1


def test_long_continuations_are_read_in_parts(models: list[Any], members: list[Member], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cosd_eval.decoding.scoring.WANTED", 4)
    long = ScoreRequest(tuple(tiny_models.encode("ab")), tuple(tiny_models.encode("theQuickBrownFoxJumpsOver")))
    short = ScoreRequest(tuple(tiny_models.encode("ab")), tuple(tiny_models.encode("the")))
    for request, scored in zip((long, short), score(members, list(METHODS.values()), [long, short], Options()), strict=True):
        for name, mine in zip(METHODS, scored, strict=True):
            assert mine.log_likelihood == pytest.approx(expected(models, request, name)[0], abs=2e-4)


def test_equal_contexts_are_read_once(members: list[Member], monkeypatch: pytest.MonkeyPatch) -> None:
    fed: list[int] = []
    original = Member.run

    def counting(self: Member, chunks: Any, **kw: Any) -> Any:
        output = original(self, chunks, **kw)
        fed.append(output.tokens)
        return output

    monkeypatch.setattr(Member, "run", counting)
    context = tuple(tiny_models.encode("aQuestionOfSomeLength"))
    score(members[:1], [methods.Alone(0)], [ScoreRequest(context, (t,)) for t in range(4)], Options())
    assert sum(fed) == len(context)


def test_too_long(members: list[Member]) -> None:
    with pytest.raises(PromptTooLong):
        score(members, [METHODS["draft"]], [ScoreRequest(tuple([1] * 300), (1,))], Options())


def test_the_mixture_stays_exact_when_a_member_gives_almost_nothing() -> None:
    logits = torch.tensor([[0.0, -200.0]]), torch.tensor([[-200.0, 0.0]])
    targets = torch.tensor([1])
    views = {m: methods.look(x, x, targets=targets, whole=True) for m, x in enumerate(logits)}
    average = methods.Average([1, 1])
    assert float(average.log_probability(views, average.choose(views))) == pytest.approx(math.log(0.5))
