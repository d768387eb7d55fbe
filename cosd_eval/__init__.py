"""cosd-eval: evaluate language models that decode together.

>>> from cosd_eval import Pair
>>> Pair.load("complementary").decode(["Question: ..."], method="cosd-rule", max_new_tokens=64)
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cosd_eval.analysis.results import load_results
    from cosd_eval.decoding.loop import Options
    from cosd_eval.decoding.pair import Pair

__all__ = ["Options", "Pair", "load_results"]
_HOMES = {
    "Pair": "cosd_eval.decoding.pair",
    "Options": "cosd_eval.decoding.loop",
    "load_results": "cosd_eval.analysis.results",
}


def __getattr__(name: str) -> Any:
    """Heavy modules are imported when they are first used, so that `cosd-eval --help` is instant."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
