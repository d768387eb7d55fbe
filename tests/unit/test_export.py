"""Exported results are read by lm-eval's own code and agree with what its users' tools expect."""

import json
from datetime import datetime
from pathlib import Path

import pytest

from cosd_eval.analysis.export import export_lm_eval
from cosd_eval.analysis.results import Results, load_results
from cosd_eval.errors import StoreError

TOY = Path(__file__).parents[1] / "golden" / "results" / "toy-results"


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return export_lm_eval(load_results(TOY), tmp_path, datetime(2025, 7, 1, 12, 30, 5))


def test_lm_eval_finds_the_files_and_their_tasks(files: list[Path]) -> None:
    from lm_eval.utils import get_file_datetime, get_file_task_name, get_results_filenames, get_sample_results_filenames

    names = [str(f) for f in files]
    assert len(get_results_filenames(names)) == 5
    samples = [Path(n).name for n in get_sample_results_filenames(names)]
    assert {get_file_task_name(n) for n in samples} == {"gsm8k", "mmlu_anatomy", "mmlu_law"}
    assert {get_file_datetime(n) for n in samples} == {"2025-07-01T12-30-05"}


def test_lm_eval_prints_its_table_of_our_results(files: list[Path]) -> None:
    from lm_eval.utils import make_table

    path = next(f for f in files if f.name.startswith("results_") and f.parent.name == "toy__cosd-rule")
    content = json.loads(path.read_text())
    table = make_table(content)
    assert "|gsm8k" in table and "0.7000" in table and "0.1528" in table
    assert content["group_subtasks"]["mmlu"] == ["mmlu_anatomy", "mmlu_law"] and " - mmlu_law" in table
    assert "mmlu" in make_table(content, "groups")


def test_samples_hold_what_lm_eval_logs(files: list[Path]) -> None:
    path = next(f for f in files if f.name.startswith("samples_gsm8k") and f.parent.name == "toy__cosd-rule")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == 20 and [line["doc_id"] for line in lines][:4] == [0, 0, 1, 1]
    assert {line["filter"] for line in lines} == {"strict-match", "flexible-extract"}
    assert sum(line["exact_match"] for line in lines if line["filter"] == "strict-match") == 7
    assert lines[0]["arguments"]["gen_args_0"]["arg_0"] == "Question 0: <b>how many</b>?"
    choice = next(f for f in files if f.name.startswith("samples_mmlu_law") and f.parent.name == "toy__draft")
    first = json.loads(choice.read_text().splitlines()[0])
    assert first["resps"] == [[["-0.3", "True"]], [["-1.4", "False"]]] and first["arguments"]["gen_args_1"]["arg_1"] == " B"


def test_nothing_complete_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no complete cell"):
        export_lm_eval(Results(TOY), tmp_path)
