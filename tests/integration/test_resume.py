"""A run that is killed and started again ends with the same samples, token for token."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import tiny_folders

from cosd_eval.config import DraftMethod, RuleMethod
from cosd_eval.decoding.loop import Options
from cosd_eval.evaluation.runner import Settings, run

ITEMS = 8


def write_task(folder: Path) -> Path:
    (folder / "items.jsonl").write_text("".join(json.dumps({"q": f"{i} + {i} =", "a": str(2 * i)}) + "\n" for i in range(ITEMS)))
    path = folder / "sums.yaml"
    path.write_text(
        f"task: sums\ndataset_path: json\ndataset_kwargs: {{data_files: {{test: {folder}/items.jsonl}}, cache_dir: {folder}/cache}}\n"
        "test_split: test\noutput_type: generate_until\ndoc_to_text: '{{q}}'\ndoc_to_target: '{{a}}'\n"
        "generation_kwargs: {until: ['zzzz'], max_gen_toks: 96}\n"
    )
    return path


def samples(out: Path, method: str) -> dict[int, Any]:
    lines = [
        line
        for line in (out / "tiny" / method / "sums" / "samples.jsonl").read_text().splitlines(keepends=True)
        if line.endswith("\n")
    ]
    return {s["doc_id"]: s for s in map(json.loads, lines)}


def tokens(sample: Any) -> Any:
    (output,) = sample["outputs"]
    return output["token_ids"], output["text"], output["provenance"]["author"], sample["metrics"]


def test_killed_and_started_again(tmp_path: Path) -> None:
    pair, task = tiny_folders.write_pair(tmp_path), write_task(tmp_path)
    words = [
        "run", "--pair", str(pair), "--tasks", str(task), "--methods", "draft,cosd-rule", "--batch-size", "1", "--out", str(tmp_path / "killed"),
    ]  # fmt: skip
    started = subprocess.Popen(
        [sys.executable, "-m", "cosd_eval", *words], cwd=Path(__file__).parents[2], stderr=subprocess.DEVNULL
    )
    first = tmp_path / "killed/tiny/draft/sums/samples.jsonl"
    deadline = time.monotonic() + 120
    while not (first.exists() and first.read_bytes().count(b"\n") >= 2):
        assert started.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(started.pid, signal.SIGKILL)
    started.wait()
    before = samples(tmp_path / "killed", "draft")
    assert len(before) >= 2

    def settings(out: str, **options: int) -> Settings:
        return Settings((str(pair),), (str(task),), (DraftMethod(), RuleMethod()), tmp_path / out, options=Options(**options))

    run(settings("killed", batch_size=5))
    run(settings("whole", batch_size=3, draft_length=4))
    for method in ("draft", "cosd-rule"):
        again, whole = samples(tmp_path / "killed", method), samples(tmp_path / "whole", method)
        assert sorted(again) == list(range(ITEMS))
        assert {n: tokens(s) for n, s in again.items()} == {n: tokens(s) for n, s in whole.items()}
        scores = [
            json.loads((tmp_path / out / "tiny" / method / "sums" / "scores.json").read_text()) for out in ("killed", "whole")
        ]
        assert scores[0] == scores[1]
    assert {
        n: s for n, s in samples(tmp_path / "killed", "draft").items() if n in before
    } == before  # what was there was not done again
