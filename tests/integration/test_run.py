"""The whole path on real (tiny, random) models: command line, lm-eval, adapter, engine, store, table."""

import json
from pathlib import Path
from typing import Any

import pytest
import tiny_folders
from typer.testing import CliRunner

from cosd_eval.cli import app
from cosd_eval.evaluation.store import cell_folder, read_samples

METHODS = ["draft", "assistant", "speculative", "average", "cosd-rule", "cosd-rule:alpha=0", "cosd-rule:alpha=1.1,beta=0"]
TASK = """
dataset_path: json
dataset_kwargs: {data_files: {test: FOLDER/items.jsonl}, cache_dir: FOLDER/cache}
test_split: test
doc_to_text: "{{q}}"
"""
WRITE = 'task: write\noutput_type: generate_until\ndoc_to_target: "{{a}}"\ngeneration_kwargs: {until: ["zz"], max_gen_toks: 24}\n'
CHOOSE = 'task: choose\noutput_type: multiple_choice\ndoc_to_choice: ["one", "two", "three or more"]\ndoc_to_target: 1\n'


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of every method on a task of each kind."""
    folder = tmp_path_factory.mktemp("run")
    pair = tiny_folders.write_pair(folder)
    rows = [{"q": f"How many are {i} and {i * i}?", "a": str(i + i * i)} for i in range(5)]
    (folder / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, kind in {"write": WRITE, "choose": CHOOSE}.items():
        (folder / f"{name}.yaml").write_text(kind + TASK.replace("FOLDER", str(folder)))
    words = ["run", "--pair", str(pair), "--tasks", f"{folder}/write.yaml,{folder}/choose.yaml", "--out", str(folder / "out")]
    done = CliRunner().invoke(app, words + [w for m in METHODS for w in ("--method", m)])
    assert done.exit_code == 0, done.output
    return folder / "out"


def outputs(out: Path, method: str, task: str) -> dict[int, list[dict[str, Any]]]:
    return {s.doc_id: s.outputs for s in read_samples(cell_folder(out, "tiny", method, task))}


@pytest.mark.parametrize(
    ("one", "other"), [("speculative", "assistant"), ("cosd-rule:alpha=0", "draft"), ("cosd-rule:alpha=1.1,beta=0", "assistant")]
)
def test_methods_that_must_write_the_same(one: str, other: str, out: Path) -> None:
    for number, (written,) in outputs(out, other, "write").items():
        assert outputs(out, one, "write")[number][0]["token_ids"] == written["token_ids"]
    for number, choices in outputs(out, other, "choose").items():
        again = outputs(out, one, "choose")[number]
        assert [c["log_likelihood"] for c in again] == pytest.approx([c["log_likelihood"] for c in choices], abs=1e-4)


def test_members_differ_and_the_rule_mixes_them(out: Path) -> None:
    """Else the test above says nothing."""
    draft, assistant = outputs(out, "draft", "write"), outputs(out, "assistant", "write")
    assert all(draft[n][0]["token_ids"] != assistant[n][0]["token_ids"] for n in draft)
    authors = {a for (o,) in outputs(out, "cosd-rule", "write").values() for a in o["provenance"]["author"]}
    assert authors == {0, 1}


def test_scoring_all_methods_took_one_pass(out: Path) -> None:
    for method in METHODS:
        facts = json.loads((cell_folder(out, "tiny", method, "choose") / "run.json").read_text())
        assert facts["shared_pass"] == len(METHODS)


def test_the_table_shows_every_cell(out: Path) -> None:
    shown = CliRunner().invoke(app, ["table", "scores", "--results", str(out), "--format", "json"])
    rows = json.loads(shown.stdout)
    assert {(r["method"], r["task"]) for r in rows} == {(m, t) for m in METHODS for t in ("write", "choose")}
    assert {"pair", "method", "task", "metric", "value", "stderr", "n"} <= set(rows[0])


def test_multiple_choice_by_generation_through_the_engine(out: Path) -> None:
    folder = out.parent
    words = [
        "run",
        "--pair",
        str(folder / "pair.yaml"),
        "--tasks",
        str(folder / "choose.yaml"),
        "--methods",
        "cosd-rule",
        "--out",
        str(out),
    ]
    done = CliRunner().invoke(app, [*words, "--multiple-choice", "generate"])
    assert done.exit_code == 0, done.output
    (written,) = outputs(out, "cosd-rule", "choose:generate")[0]
    assert written["kind"] == "generate" and len(written["token_ids"]) <= 32


def test_a_pair_is_checked(out: Path) -> None:
    done = CliRunner().invoke(app, ["check", "--pair", str(out.parent / "pair.yaml")])
    assert done.exit_code == 0 and "one vocabulary of 257 tokens" in done.stdout, done.output


def test_a_text_is_traced(out: Path) -> None:
    folder = out.parent
    words = [
        "trace",
        "--pair",
        str(folder / "pair.yaml"),
        "--task",
        str(folder / "write.yaml"),
        "--doc",
        "1",
        "--method",
        "cosd-rule",
    ]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0 and "expected: 2" in done.stdout, done.output


def test_a_method_that_does_not_fit_is_told_before_any_work(out: Path) -> None:
    folder = out.parent
    words = ["run", "--pair", str(folder / "pair.yaml"), "--tasks", str(folder / "write.yaml"), "--out", str(folder / "none")]
    done = CliRunner().invoke(app, [*words, "--methods", "draft", "--method", "average:weights=1/2/3"])
    assert done.exit_code == 2 and "needs 2 numbers" in done.stderr, done.output
    assert not list((folder / "none").rglob("samples.jsonl"))
