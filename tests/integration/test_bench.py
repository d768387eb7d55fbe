"""`cosd-eval bench` from end to end on a built-in pair: every system runs, tokens agree where they must, the record is whole."""

import json
from pathlib import Path
from time import perf_counter

import pytest
from typer.testing import CliRunner

from cosd_eval.bench import floor
from cosd_eval.cli import app
from cosd_eval.decoding.pair import Pair


def bench(tmp_path: Path, *arguments: str) -> tuple[str, dict]:  # type: ignore[type-arg]
    out = tmp_path / "bench.json"
    result = CliRunner().invoke(app, ["bench", "--out", str(out), *arguments])
    assert result.exit_code == 0, result.output
    return result.output, json.loads(out.read_text())


def test_writing(tmp_path: Path) -> None:
    arguments = (
        "--limit",
        "3",
        "--max-new-tokens",
        "12",
        "--repeats",
        "1",
        "--batches",
        "1,2",
        "--few",
        "2",
        "--dtype",
        "float32",
    )
    text, kept = bench(tmp_path, *arguments)
    told = kept["tasks"]["builtin_arith"]
    systems = {(r["system"], r["batch"]) for r in told["rows"]}
    assert {("cosd-rule", 2), ("transformers generate, assisted", 1), ("lm-eval hf, draft", 2)} <= systems
    assert told["equal_tokens"] and all(e["equal"] == e["of"] > 0 for e in told["equal_tokens"])
    ours = [r for r in told["rows"] if r["group"] == "ours"]
    assert all(r["overhead_over_floor"] > 0 and r["tokens_per_second"] > 0 for r in ours)
    assert "cosd-rule, batch 1 ÷ transformers generate, assisted" in text


def test_the_floor_is_the_time_of_every_pass_of_the_run() -> None:
    pair = Pair.load("capacity", dtype="float32")
    begin = perf_counter()
    with floor.recording(pair.members) as passes:
        (row,) = pair.decode(["Tom has 3 apples."], method="cosd-rule", max_new_tokens=12)
    whole = perf_counter() - begin
    fed = [sum(len(p.ids) for p in passes if p.member is m) for m in pair.members]
    assert fed[0] >= row.counters.prompt_tokens + row.counters.output_tokens - 1
    assert fed[1] == row.counters.assistant_tokens > 0
    assert all(p.seconds > 0 for p in passes)
    assert floor.seconds(passes) == sum(p.seconds for p in passes) < whole
    assert not any("feed" in vars(m) for m in pair.members), "recording leaves the members as they were"
    noted = len(passes)
    pair.decode(["Tom has"], method="draft", max_new_tokens=2)
    assert len(passes) == noted, "and notes no more"


def test_scoring(tmp_path: Path) -> None:
    _, kept = bench(
        tmp_path, "--tasks", "builtin_choice", "--limit", "3", "--repeats", "1", "--batches", "4", "--methods", "draft,average"
    )
    told = kept["tasks"]["builtin_choice"]
    assert told["unit"] == "requests"
    assert {r["system"] for r in told["rows"]} == {"draft", "average", "lm-eval hf, draft", "lm-eval hf, assistant"}


@pytest.mark.parametrize(
    ("arguments", "message"), [(["--batches", "x"], "--batches x"), (["--pair", "different-tokenizers"], "vocabulary")]
)
def test_what_cannot_be_timed_is_told(tmp_path: Path, arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["bench", "--out", str(tmp_path / "x.json"), *arguments])
    assert result.exit_code == 2
    assert message in result.output
