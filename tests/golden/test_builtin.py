"""CI's regression: the built-in suite under every method, in float32, counted exactly.

A change of any count fails and shows the difference. `make golden` (COSD_REWRITE_GOLDEN=1) rewrites the counts on purpose.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from cosd_eval.config import parse_method
from cosd_eval.decoding.loop import Options
from cosd_eval.errors import UnsafeCodeError
from cosd_eval.evaluation.runner import Settings, run
from cosd_eval.evaluation.sandbox import require_confinement
from cosd_eval.evaluation.store import cell_folder, read_samples

COUNTS = Path(__file__).parent / "builtin.json"
LIMIT = 40  # of each task's 100: all methods and pairs have to fit into CI's minutes
TASKS = ("builtin_arith_ci", "builtin_both_ci", "builtin_choice_ci", "builtin_code_ci")
TWO = "draft,assistant,speculative,average,cosd-rule,cosd-tree,co-llm"
METHODS = {
    "complementary": TWO,
    "forgetting": TWO,
    "capacity": TWO,
    "builtin-trio": "assistant,average,cosd-rule,cosd-tree",
}


def count(pair: str, out: Path) -> dict[str, dict[str, dict[str, int]]]:
    """method -> task -> counts: documents, right ones, tokens written, of which an assistant's in place of the draft's."""
    methods = tuple(m for name in METHODS[pair].split(",") for m in parse_method(name))
    settings = Settings((pair,), TASKS, methods, out, LIMIT, dtype="float32", options=Options(batch_size=20), confirm_unsafe=True)
    found: dict[str, dict[str, dict[str, int]]] = {}
    for filled in run(settings):
        about = filled.about
        samples = list(read_samples(cell_folder(out, about.pair, about.method, about.task)))
        right = sum(
            m.value
            for s in samples
            for m in s.metrics
            if m.metric == about.primary["metric"] and m.filter == about.primary["filter"]
        )
        counters = [o["counters"] for s in samples for o in s.outputs if o["kind"] == "generate"]
        found.setdefault(about.method, {})[about.task] = {
            "documents": len(samples),
            "right": int(right),
            "tokens": sum(c["output_tokens"] for c in counters),
            "replaced": sum(c["replaced"] for c in counters),
        }
    return found


def flat(counts: dict[str, Any], prefix: str = "") -> dict[str, int]:
    rows: dict[str, int] = {}
    for key, value in counts.items():
        rows |= flat(value, f"{prefix}{key} · ") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return rows


@pytest.mark.parametrize("pair", METHODS)
def test_counts_are_what_they_were(pair: str, tmp_path: Path) -> None:
    try:
        require_confinement()
    except UnsafeCodeError as e:
        pytest.skip(f"programs cannot be confined on this machine: {e}")
    now = count(pair, tmp_path)
    if os.environ.get("COSD_REWRITE_GOLDEN"):
        kept = json.loads(COUNTS.read_text()) if COUNTS.exists() else {}
        COUNTS.write_text(json.dumps({**kept, pair: now}, indent=1, sort_keys=True) + "\n")
        return
    before, after = flat(json.loads(COUNTS.read_text())[pair]), flat(now)
    changed = [f"{k}: {before.get(k)} -> {after.get(k)}" for k in sorted({*before, *after}) if before.get(k) != after.get(k)]
    assert not changed, f"counts of {pair} changed (if on purpose: make golden):\n" + "\n".join(changed)
