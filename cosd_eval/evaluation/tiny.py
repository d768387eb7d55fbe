"""gp-IRT: what 100 curated items say about the full benchmark (Maia Polo et al. 2024).

The package `tinyBenchmarks` is on no registry; its users install it from its repository, and it reads its parameters from
`tinyBenchmarks.pkl` in the current folder. We never fetch either.
"""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

ITEMS = 100


def unavailable(items: int) -> str | None:
    """Why gp-IRT can't be had for this many items, or None if it can."""
    if items != ITEMS:
        return f"gp-IRT needs all {ITEMS} items, and {items} were scored"
    if importlib.util.find_spec("tinyBenchmarks") is None:
        return "the tinyBenchmarks package is not installed"
    if not Path("tinyBenchmarks.pkl").is_file():
        return "tinyBenchmarks.pkl (its parameters) is not in the current folder"
    return None


def estimate(values: Sequence[float], benchmark: str) -> float:
    """values: one a document, in the published order. benchmark: as the package names it ("mmlu", "gsm8k", …)."""
    import numpy as np
    import tinyBenchmarks

    return float(tinyBenchmarks.evaluate(np.array(values), benchmark)[benchmark]["gpirt"])
