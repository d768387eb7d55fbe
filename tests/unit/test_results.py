"""Reading a results folder: frames, cut-off lines, unfinished cells, broken records."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cosd_eval.analysis.results import load_results, member_index
from cosd_eval.errors import StoreError

TOY = Path(__file__).parents[1] / "golden" / "results" / "toy-results"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(TOY, tmp_path / "toy-results"))


def test_frames_hold_every_sample_and_score() -> None:
    results = load_results(TOY)
    assert len(results.cells) == 9 and len(results.samples) == 5 * 10 + 4 * 6
    by_method = results.samples[results.samples.task == "gsm8k"].groupby("method")["score"].mean()
    assert by_method["cosd-rule"] == pytest.approx(0.7)
    assert results.samples["output_tokens"].dropna().unique().tolist() == [5]
    assert len(results.scores) == 5 * 2 + 4 * 3 and results.scores["primary"].sum() == 9
    assert len(results.metrics) == 5 * 10 * 2 + 4 * 6
    answer = results.samples[(results.samples.method == "draft") & (results.samples.subtask == "mmlu_law")].iloc[1]
    assert (answer["output"], answer["score"]) == (" B", 0)  # the likelier continuation


def test_a_line_cut_off_by_a_kill_is_left_out(folder: Path) -> None:
    path = folder / "toy" / "draft" / "gsm8k" / "samples.jsonl"
    path.write_text(path.read_text()[:-40])
    assert len(load_results(folder).samples) == 74 - 1


def test_a_broken_line_is_named(folder: Path) -> None:
    path = folder / "toy" / "draft" / "gsm8k" / "samples.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([lines[0], "{broken\n", *lines[2:]]))
    with pytest.raises(StoreError, match=r"samples\.jsonl, line 2"):
        _ = load_results(folder).samples


def test_an_unfinished_cell_counts_what_is_done(folder: Path) -> None:
    cell = folder / "toy" / "cosd-rule" / "gsm8k"
    (cell / "scores.json").unlink()
    lines = (cell / "samples.jsonl").read_text().splitlines(keepends=True)
    (cell / "samples.jsonl").write_text("".join(lines[:4]))
    results = load_results(folder)
    found = next(c for c in results.cells if (c.method, c.task) == ("cosd-rule", "gsm8k"))
    score = results.score(found)
    assert score is not None and (score.value, score.n) == (0.75, 4) and "not complete" in score.note


@pytest.mark.parametrize("content", ["not json", "[]", '{"format": 2}', '{"format": 1, "id": "x"}'])
def test_a_broken_record_is_named(folder: Path, content: str) -> None:
    (folder / "toy" / "draft" / "gsm8k" / "cell.json").write_text(content)
    with pytest.raises(StoreError, match="draft"):
        load_results(folder)


def test_a_missing_folder_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"cosd-eval run .* --out"):
        load_results(tmp_path / "nowhere")


def test_members_by_label() -> None:
    assert [member_index(m, 3) for m in ("draft", "assistant", "assistant:index=1", "cosd-rule")] == [0, 2, 1, None]


def test_reading_results_needs_no_torch() -> None:
    code = "import sys, cosd_eval.analysis.tables; print(json.dumps([m for m in ('torch', 'lm_eval', 'transformers') if m in sys.modules]))"
    out = subprocess.run([sys.executable, "-c", f"import json; {code}"], capture_output=True, text=True, check=True).stdout
    assert json.loads(out) == []
