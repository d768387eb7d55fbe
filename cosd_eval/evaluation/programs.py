"""pass@1 of generated Python functions, run confined: HumanEval, and our own tasks marked `scorer: python`.

A document has `prompt` (the head of a function), `test` (which defines `check`) and `entry_point`. The program that is run
is the one of lm-eval's stock metric: prompt + completion, a newline, the test, a newline, `check(entry_point)`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

METRIC = "pass@1"


def build_programs(responses: Sequence[Sequence[str]], documents: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """lm-eval filter: each response becomes the whole function. responses: documents × repeats."""
    return [[doc["prompt"] + r for r in response] for response, doc in zip(responses, documents, strict=True)]


class ProgramScorer:
    """lm-eval's `process_results` for one task. A verdict is kept, since lm-eval asks for it again when it aggregates."""

    def __init__(self, passes: Callable[[str], bool]) -> None:
        self.passes = passes
        self.verdicts: dict[str, float] = {}

    def __call__(self, doc: Mapping[str, Any], results: Sequence[Sequence[str]]) -> dict[str, float]:
        sources = [_source(program, doc) for program in results[0]]
        for source in sources:
            if source not in self.verdicts:
                self.verdicts[source] = float(self.passes(source))
        return {METRIC: sum(self.verdicts[s] for s in sources) / len(sources)}

    def recall(self, doc: Mapping[str, Any], results: Sequence[Sequence[str]], value: float) -> None:
        """Take over a stored verdict, so that a program is not run a second time when its sample is read back."""
        (program,) = results[0]
        self.verdicts[_source(program, doc)] = value


def _source(program: str, doc: Mapping[str, Any]) -> str:
    from cosd_eval.evaluation.sandbox import check_humaneval

    return check_humaneval(program, "", doc["test"], doc["entry_point"])


def run_confined(source: str) -> bool:
    from cosd_eval.evaluation.sandbox import run_program

    return run_program(source).passed


def as_programs(config: dict[str, Any]) -> dict[str, Any]:
    """A task's configuration with our confined scoring in place of its own (lm-eval's loads code from the hub)."""
    return {
        **config,
        "process_results": ProgramScorer(run_confined),
        "metric_list": [{"metric": METRIC, "aggregation": "mean", "higher_is_better": True}],
        "filter_list": [{"name": "create_test", "filter": [{"function": "custom", "filter_fn": build_programs}]}],
    }
