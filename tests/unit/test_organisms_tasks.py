"""Every built-in task is an ordinary lm-eval task over packaged items."""

import os
from pathlib import Path
from typing import Any

import pytest

from cosd_eval.config import list_suites
from cosd_eval.organisms import builtin_tasks

os.environ.setdefault("HF_HUB_OFFLINE", "1")

NAMES = [f"builtin_{skill}{ci}" for skill in ("arith", "both", "choice", "code") for ci in ("", "_ci")]


def test_there_is_a_task_for_each_skill_and_its_ci_subset() -> None:
    assert sorted(builtin_tasks()) == sorted(NAMES)
    for config in builtin_tasks().values():
        path = Path(config["dataset_kwargs"]["data_files"]["test"])
        assert path.is_absolute() and path.is_file()
        assert "include" not in config


def test_the_suites_hold_all_of_them() -> None:
    suites = list_suites()
    assert sorted(suites["builtin"].tasks) == sorted(n for n in NAMES if not n.endswith("_ci"))
    assert sorted(suites["builtin-ci"].tasks) == sorted(n for n in NAMES if n.endswith("_ci"))


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    from lm_eval.tasks import TaskManager, get_task_dict

    cache = str(tmp_path_factory.mktemp("datasets"))
    configs = [{**c, "dataset_kwargs": {**c["dataset_kwargs"], "cache_dir": cache}} for c in builtin_tasks().values()]
    return {str(name): task for name, task in get_task_dict(configs, TaskManager(include_defaults=False)).items()}


@pytest.mark.parametrize("name", NAMES)
def test_lm_eval_builds_its_requests(tasks: dict[str, Any], name: str) -> None:
    task = tasks[name]
    task.build_all_requests(rank=0, world_size=1)
    documents = 100 if name.endswith("_ci") else 300
    per_document = 4 if "choice" in name else 1
    assert len(task.instances) == documents * per_document
    assert task.instances[0].request_type == ("loglikelihood" if "choice" in name else "generate_until")


def test_gsm8k_like_scoring_reads_the_number_after_the_marks(tasks: dict[str, Any]) -> None:
    task = tasks["builtin_arith_ci"]
    document = task.test_docs()[0]
    gold = document["answer"].split("#### ")[1]
    assert task.process_results(document, [gold])["exact_match"] == 1
    assert task.process_results(document, [gold + "1"])["exact_match"] == 0


def test_choice_scoring_follows_the_likeliest_option(tasks: dict[str, Any]) -> None:
    task = tasks["builtin_choice_ci"]
    document = task.test_docs()[0]
    scores = [(-1.0 if i == document["answer"] else -2.0, False) for i in range(4)]
    assert task.process_results(document, scores)["acc"] == 1
    assert task.process_results(document, [(-s, g) for s, g in scores])["acc"] == 0
