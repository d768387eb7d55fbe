"""Which cells a table shows, on what scale, and the command that fills a cell that was not run."""

import shlex
from collections.abc import Sequence

from cosd_eval.analysis.results import Cell, Results, member_index
from cosd_eval.config import list_methods, load_pair
from cosd_eval.errors import UnknownName

# The paper's benchmarks, as our task names; the first is what the `paper` suite runs.
BENCHMARKS: dict[str, tuple[str, ...]] = {
    "MMLU": ("tinyMMLU", "mmlu"),
    "GSM8K": ("tinyGSM8k", "gsm8k"),
    "HumanEval": ("humaneval",),
    "Hellaswag": ("tinyHellaswag", "hellaswag"),
    "TruthfulQA": ("tinyTruthfulQA", "tinyTruthfulQA_mc1", "truthfulqa_mc2", "truthfulqa_mc1"),
    "Winogrande": ("tinyWinogrande", "winogrande"),
}
GENERATE = ":generate"  # task suffix of multiple choice by generation
_UNBOUNDED = ("perplexity", "bits_per_byte", "likelihood", "brier")


def choose_pairs(results: Results, asked: Sequence[str] | None) -> list[str]:
    """The pairs asked for by name, alias or as they stand in the results; all of the results' if none. Raises UnknownName."""
    if not asked:
        return results.pairs
    return list(dict.fromkeys(name if name in results.pairs else load_pair(name).name for name in asked))


def published_names(results: Results, pair: str) -> dict[str, str]:
    """edition -> the paper's name of this pair there; empty for a pair that the paper does not have."""
    for cell in results.cells:
        if cell.pair == pair:
            return cell.published
    try:
        return {str(edition): name for edition, name in load_pair(pair).published.items()}
    except UnknownName:
        return {}


def rows_of(results: Results, pair: str) -> dict[tuple[str, str, str], list[Cell]]:
    """The pair's cells by (task, scoring, estimator): what may stand in one row, one beside the other."""
    rows: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in results.cells:
        if cell.pair == pair:
            rows.setdefault((cell.task, cell.scoring, estimator(cell)), []).append(cell)
    return rows


def estimator(cell: Cell) -> str:
    """How tinyBenchmarks items become the score shown: "gp-IRT" or "plain mean"; "" for other tasks."""
    if cell.primary is not None and cell.primary[0].endswith("_gpirt"):
        return "gp-IRT"
    return "plain mean" if cell.task.startswith("tiny") else ""


def benchmark_of(task: str) -> str | None:
    bare = task.removesuffix(GENERATE)
    return next((name for name, tasks in BENCHMARKS.items() if bare in tasks), None)


def is_builtin(task: str) -> bool:
    return task.startswith("builtin_")


def scale_of(metric: str) -> float:
    """100 for shares and probabilities, which are shown in percent; 1 for what has no upper bound."""
    return 1.0 if any(word in metric for word in _UNBOUNDED) else 100.0


def find_cell(cells: Sequence[Cell], method: str) -> Cell | None:
    """The cell that stands for a method in a published layout.

    A member by its index; a method with its default parameters; the tree and Co-LLM, which need a file, with any (a tree not
    trained in-domain before one that is).
    """
    wanted = member_index(method, 0) if method.startswith("assistant:") else None
    for cell in cells:
        if cell.method == method or (wanted is not None and cell.member_index == wanted):
            return cell
        if method == "assistant" and cell.member_index == len(cell.members) - 1:
            return cell
    others = [c for c in cells if c.method_name == method] if method in ("cosd-tree", "co-llm") else []
    return min(others, key=lambda c: (leak_of(c) != "", c.method), default=None)


def leak_of(cell: Cell) -> str:
    """What a learned method has seen of this task: "LEAKAGE" (its very documents), "in-domain", or ""."""
    notes = " ".join(cell.notes).lower()
    return "LEAKAGE" if "leakage" in notes else "in-domain" if "in-domain" in notes else ""


def run_command(results: Results, pair: str, tasks: Sequence[str], methods: Sequence[str]) -> str:
    """The command that fills these cells in this results folder."""
    bare = list(dict.fromkeys(task.removesuffix(GENERATE) for task in tasks))
    words = ["cosd-eval", "run", "--pair", pair, "--tasks", ",".join(bare)]
    plain = [method for method in methods if ":" not in method]
    words += ["--methods", ",".join(plain)] if plain else []
    for method in methods:
        words += ["--method", method] if ":" in method else []
    if any(task.endswith(GENERATE) for task in tasks):
        words += ["--multiple-choice", "generate"]
    if any(task.startswith(("humaneval", "builtin_code")) for task in bare):
        words.append("--confirm-run-unsafe-code")
    return shlex.join([*words, "--out", str(results.folder)])


def can_run(method: str) -> bool:
    """Whether this version has the method at all (the paper's char-ed is not shipped everywhere)."""
    return method.partition(":")[0] in list_methods()


def cell_notes(cells: Sequence[Cell], of_all_methods: bool = False) -> list[str]:
    """The notes of these cells, each once, with the cells it is about: `pair task` where it holds for all methods there.

    of_all_methods: only those that do; the others stand as footnotes elsewhere.
    """
    about: dict[str, dict[tuple[str, str], list[str]]] = {}
    all_methods: dict[tuple[str, str], int] = {}
    for cell in cells:
        place = (cell.pair, cell.task)
        all_methods[place] = all_methods.get(place, 0) + 1
        for note in cell.notes:
            about.setdefault(note, {}).setdefault(place, []).append(cell.method)
    lines = []
    for note, places in about.items():
        where = [
            f"{pair} {task}" + ("" if len(methods) == all_methods[pair, task] else f" {', '.join(methods)}")
            for (pair, task), methods in places.items()
        ]
        if not of_all_methods or all(len(methods) == all_methods[place] for place, methods in places.items()):
            lines.append(f"{'; '.join(where)}: {note}.")
    return lines
