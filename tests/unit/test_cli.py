import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import tiny_data
from fake_pair import FakePair
from typer.testing import CliRunner, Result

from cosd_eval.cli import app
from cosd_eval.commands import options
from cosd_eval.evaluation import runner


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_data.write(tmp_path_factory.mktemp("data"))


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    path = tmp_path / "fake.yaml"
    path.write_text("name: fake\nscenario: test\ndraft: {model: nowhere/Small}\nassistants: [{model: nowhere/Large}]\n")
    monkeypatch.setattr(runner.Pair, "load", FakePair.load)
    return str(path)


def call(*words: object) -> Result:
    return CliRunner().invoke(app, [str(w) for w in words])


def test_run_then_table(pair: str, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = call("run", "--pair", pair, "--tasks", "gsm8k,tinyMMLU", "--methods", "draft,assistant", "--method", "cosd-rule:alpha=0.25|0.5",
                "--limit", 3, "--data-dir", data, "--out", out)  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "cosd-rule:alpha=0.25" in done.stdout and "tokens/s" in done.stdout and "rounds" in done.stdout
    shown = call("table", "scores", "--results", out, "--format", "json")
    rows = json.loads(shown.stdout)
    assert {(r["pair"], r["method"], r["task"]) for r in rows} == {
        ("fake", m, t) for m in ("draft", "assistant", "cosd-rule:alpha=0.25", "cosd-rule") for t in ("gsm8k", "tinyMMLU")
    }
    assert all(r["n"] == 3 for r in rows)
    written = tmp_path / "tables" / "scores.md"
    assert call("table", "scores", "--results", out, "--format", "markdown", "--output", written).exit_code == 0
    assert "| " in written.read_text()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["run", "--pair", "PAIR", "--tasks", "gsm8k"], "No method was given"),
        (["run", "--pair", "PAIR", "--tasks", ",", "--methods", "draft"], "No task was given"),
        (["run", "--pair", "nothing-like-it", "--tasks", "gsm8k", "--methods", "draft"], "Unknown pair"),
        (["run", "--pair", "PAIR", "--tasks", "gsm8k", "--methods", "drafts"], "did you mean 'draft'"),
        (["run", "--pair", "PAIR", "--tasks", "gsm8k", "--method", "cosd-rule:alpha"], "should be key=value"),
        (["run", "--pair", "PAIR", "--tasks", "gsm8k", "--methods", "draft", "--draft-length", "0"], "--draft-length 0"),
        (["run", "--pair", "PAIR", "--tasks", "gsm8k", "--methods", "draft", "--data-dir", "/no/where"], "no folder /no/where"),
        (
            ["run", "--pair", "PAIR", "--tasks", "mmlu", "--methods", "draft", "--multiple-choice", "guess"],
            "loglikelihood or generate",
        ),
        (["run", "--pair", "PAIR", "--tasks", "humaneval", "--methods", "draft"], "--confirm-run-unsafe-code"),
        (["table", "scores", "--results", "/no/where"], "no results folder"),
        (["table", "scorse"], "did you mean 'scores'"),
        (["table", "scores", "--format", "xml"], "Unknown format"),
        (["check"], "No pair was given"),
        (["trace", "--pair", "PAIR"], "either --task"),
        (["trace", "--pair", "PAIR", "--task", "mmlu_anatomy"], "answers are generated"),
        (["trace", "--pair", "PAIR", "--task", "gsm8k", "--doc", "99"], "--doc from 0 to 5"),
    ],
)
def test_mistakes_are_told_in_one_sentence(
    words: list[str], told: str, pair: str, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COSD_DATA_DIR", str(data))
    done = call(*(pair if w == "PAIR" else w for w in words))
    assert done.exit_code == 2, done.output
    assert told in done.stderr and done.stderr.startswith("cosd-eval: ") and "Traceback" not in done.output
    assert done.stderr.count("\n") == 1


def test_control_c_says_how_to_go_on(pair: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = FakePair(stop_after=1)
    monkeypatch.setattr(runner.Pair, "load", lambda *_, **__: stopped)
    words = ["run", "--pair", pair, "--tasks", "gsm8k", "--methods", "draft", "--data-dir", data, "--out", tmp_path / "out"]
    done = call(*words)
    assert done.exit_code == 130 and "the same command goes on from there" in done.stderr
    stopped.stop_after = None
    assert call(*words).exit_code == 0
    assert len(stopped.generated) == 6
    facts = json.loads((tmp_path / "out/fake/draft/gsm8k/run.json").read_text())
    assert facts["sessions"] == 2 and facts["documents"] == 6 and facts["timed_tokens"] == facts["tokens"]


def test_lists(data: Path) -> None:
    assert "qwen-coder" in call("list", "pairs").stdout
    assert "alpha=0.5" in call("list", "methods").stdout
    assert "table2" in call("list", "tables").stdout
    shown = call("list", "tasks", "--data-dir", data).stdout
    assert "5-shot" in shown and "builtin_arith" in shown and "paper" in shown and "missing" not in shown


def test_list_tasks_names_missing_files(tmp_path: Path) -> None:
    tiny_data.write_jsonl(tmp_path / "gsm8k" / "test.jsonl", [{"question": "1?", "answer": "1"}])
    from cosd_eval.evaluation.listing import list_tasks

    listed = {t.name: t for t in list_tasks(tmp_path)}
    assert listed["gsm8k"].data == "missing: gsm8k/train.jsonl"  # its five examples come from there
    assert listed["mmlu"].data == "missing: mmlu/test.jsonl" and listed["mmlu"].items == 14042


def test_help_is_instant() -> None:
    def seconds(*command: Any) -> float:
        started = time.perf_counter()
        subprocess.run([sys.executable, *command], check=True, capture_output=True, cwd=Path(__file__).parents[2])
        return time.perf_counter() - started

    times = [seconds("-m", "cosd_eval", "--help") - seconds("-c", "import site") for _ in range(3)]
    assert min(times) < 1.0  # about 0.3 where nothing else runs


@pytest.mark.parametrize(
    ("given", "spins"), [({}, "10000"), ({"OMP_WAIT_POLICY": "passive"}, None), ({"GOMP_SPINCOUNT": "7"}, "7")]
)
def test_how_threads_wait_is_the_users_choice(given: dict[str, str], spins: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    options.prepare_libraries()
    assert os.environ.get("GOMP_SPINCOUNT") == spins
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
