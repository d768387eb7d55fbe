"""What the bench makes of its outcomes: ratios, aims, spending beyond limits, and where tokens differ."""

from typing import Any

import pytest

from cosd_eval.bench import measure
from cosd_eval.bench.work import Work
from cosd_eval.decoding.loop import Request
from cosd_eval.decoding.scoring import ScoreRequest


def row(system: str, batch: int, rate: float, **more: Any) -> dict[str, Any]:
    usual = {"overhead_over_floor": None, "rows_mb": None, "memory_over_weights_mb": 0.0}
    return {"system": system, "batch": batch, "tokens_per_second": rate, **usual, **more}


def system(name: str, batch: int) -> measure.System:
    return measure.System(name, "ours", batch, 2, lambda: measure.Outcome(1.0, 1))


def test_ratios_compare_what_was_measured_and_aim_only_at_the_reference_pair() -> None:
    rows = [row("cosd-rule", 1, 9.0), row("transformers generate, assisted", 1, 6.0)]
    (found,) = measure.ratios(rows, "tokens", "gsm8k", "qwen-coder")
    assert found["ratio"] == pytest.approx(1.5)
    assert found["wanted"] == 1.7
    (other,) = measure.ratios(rows, "tokens", "gsm8k", "capacity")
    assert other["wanted"] is None
    assert not measure.ratios(rows[:1], "tokens", "gsm8k", "qwen-coder")


def test_aims_of_a_task_group_hold_for_its_subjects() -> None:
    rows = [row("draft", 16, 5.0), row("lm-eval hf, draft", 16, 1.0)]
    assert [r["wanted"] for r in measure.ratios(rows, "tokens", "mmlu_anatomy", "qwen-coder")] == [2.5]


def test_overspending_is_told() -> None:
    fine = row("draft", 1, 1.0, overhead_over_floor=1.1, rows_mb=10.0, memory_over_weights_mb=900.0)
    slow = row("average", 4, 1.0, overhead_over_floor=1.3, rows_mb=10.0, memory_over_weights_mb=2000.0)
    told = measure.beyond([fine, slow, row("lm-eval hf, draft", 4, 1.0, memory_over_weights_mb=9000.0)])
    assert len(told) == 2
    assert "average, batch 4: 1.30 × the floor" in told[0]
    assert "1990 MB beyond" in told[1]


def test_agreements_say_where_tokens_differ() -> None:
    systems = [system("assistant", 1), system("assistant", 4), system("transformers generate, assistant", 1)]
    ids = [[[1, 2, 3], [4, 5]], [[1, 2, 9], [4, 5]], [[1, 2, 3], [4, 5]]]
    outcomes = {i: [measure.Outcome(1.0, 5, some)] for i, some in enumerate(ids)}
    first, second = measure.agreements(systems, outcomes)
    assert (first["a"], first["equal"], first["of"], first["differ"]) == ("assistant, batch 1", 2, 2, [])
    assert (second["a"], second["equal"], second["of"], second["differ"]) == ("assistant, batch 4", 1, 2, [2])


def test_a_text_that_stops_early_differs_where_it_stops() -> None:
    systems = [system("speculative", 1), system("transformers generate, assisted", 1)]
    outcomes = {0: [measure.Outcome(1.0, 3, [[1, 2, 3]])], 1: [measure.Outcome(1.0, 2, [[1, 2]])]}
    assert measure.agreements(systems, outcomes)[0]["differ"] == [2]


def test_everyone_at_a_batch_size_runs_on_the_same_requests() -> None:
    writing = Work("w", [Request((1,))] * 16, [], [object()] * 16)
    assert [measure.requests_at(writing, batch, 4) for batch in (1, 4, 8, 16, 64)] == [4, 4, 8, 16, 16]
    scoring = Work("s", [], [ScoreRequest((1,), (2,))] * 16, [object()] * 16)
    assert measure.requests_at(scoring, 1, 4) == 16
