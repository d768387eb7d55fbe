"""The paper's tables 6 and 7: time per token, acceptance and iterations, from the counters and provenance of written answers."""

from collections.abc import Iterator
from typing import Any

from cosd_eval.analysis import published as paper
from cosd_eval.analysis.cost import cell_cost
from cosd_eval.analysis.request import Request
from cosd_eval.analysis.results import Cell
from cosd_eval.analysis.selection import BENCHMARKS, find_cell, rows_of, run_command
from cosd_eval.analysis.table import Block, Column, Figure, Row, Table

_METHODS = ("speculative", "cosd-rule", "cosd-tree")
LENGTHS = (128, 256, 512)
_PAIRS = ("pair3",)


def table6(request: Request) -> Table:
    """Milliseconds per token and acceptance rate, a block a (pair, task)."""
    columns = [
        Column("method", "method"), *_measured("ms", "ms per token", "number", request.published),
        *_measured("acceptance", "acceptance", "number", request.published),
    ]  # fmt: skip
    blocks = []
    for pair, task, cells in _written(request):
        rows: list[Row] = []
        for method in _METHODS:
            cell = find_cell(cells, method)
            spent = cell_cost(request.results, cell) if cell else None
            row: Row = {"method": cell.method if cell else method}
            row |= {"ms": spent["ms"], "acceptance": 1 - spent["replaced"] / 100} if spent and spent["unit"] == "token" else {}
            if request.published:
                for key, figure in zip(("ms", "acceptance"), paper.table6()[method], strict=True):
                    _beside(row, key, figure)
            rows.append(row)
        blocks.append(Block(f"{pair} · {task}", columns, rows))
    notes = [
        "ms per token: time of the members' passes, each divided among its rows; it depends on machine and batch size.",
        "Acceptance: share of the output tokens that were not replaced, so that it does not depend on the schedule.",
        *_published_note(request, "pair 3; hardware, draft length and what counts as accepted are not stated"),
    ]
    return Table("table6", "Table 6: time per token and acceptance", blocks, [*notes, *_missing(request)])


def table7(request: Request) -> Table:
    """Mean number of draft-verify iterations for the first 128, 256 and 512 tokens, a block a (pair, task)."""
    columns = [Column("length", "tokens"), Column("mean", "mean tokens", "number")]
    columns += [c for method in _METHODS for c in _measured(method, method, "number", request.published)]
    blocks, cut = [], []
    for pair, task, cells in _written(request):
        found = {method: cell for method in _METHODS if (cell := find_cell(cells, method))}
        counts = {method: iterations(cell) for method, cell in found.items()}
        rows: list[Row] = []
        for length in LENGTHS:
            row: Row = {"length": str(length)}
            for method in _METHODS:
                if method in counts and length in counts[method]:
                    row[method], row["mean"] = counts[method][length]
                elif method in counts:
                    cut.append(f"{pair} {task} {method}: outputs are cut before {length} tokens; run it with a longer limit.")
                if request.published:
                    _beside(row, method, paper.table7()[length, method])
            rows.append(row)
        blocks.append(Block(f"{pair} · {task}", columns, rows))
    notes = [
        "Iterations that a loop needs which drafts to the end after each replacement: 1 + replacements within the first so many "
        "tokens, from the provenance; shorter outputs count as they ended. Mean tokens: of the outputs so cut.",
        *_published_note(request, "pair and benchmark are not stated"),
    ]
    return Table("table7", "Table 7: iterations by output length", blocks, [*notes, *cut, *_missing(request)])


def iterations(cell: Cell) -> dict[int, tuple[float, float]]:
    """length -> (mean iterations, mean tokens), without the lengths before which an output was cut by its limit."""
    outputs = [output for sample in cell.read_samples() for output in sample.outputs if "provenance" in output]
    found = {}
    for length in LENGTHS:
        if outputs and not any(o["finish"] in ("length", "context") and len(o["token_ids"]) < length for o in outputs):
            counts = [_iterations(output["provenance"], length) for output in outputs]
            tokens = [min(length, len(output["token_ids"])) for output in outputs]
            found[length] = sum(counts) / len(counts), sum(tokens) / len(tokens)
    return found


def _iterations(provenance: dict[str, Any], length: int) -> int:
    return 1 + sum(replaced_at(provenance)[:length][:-1])  # a replacement of the very last token starts no new draft


def replaced_at(provenance: dict[str, Any]) -> list[bool]:
    """For each output token, whether the draft would have written another."""
    return [top[0] is not None and top[0] != token for token, top in zip(provenance["token"], provenance["top"], strict=True)]


def _written(request: Request) -> Iterator[tuple[str, str, list[Cell]]]:
    for pair in request.pairs or _PAIRS:
        for (task, _, _), cells in rows_of(request.results, pair).items():
            frames = [request.results.by_cell.get(cell.key) for cell in cells]
            if any(frame is not None and "output_tokens" in frame and frame["output_tokens"].sum() > 0 for frame in frames):
                yield pair, task, cells


def _measured(key: str, heading: str, kind: Any, published: bool) -> list[Column]:
    if not published:
        return [Column(key, heading, kind)]
    return [
        Column(key, "ours", kind, heading), Column(f"{key} published", "paper†", kind, heading),
        Column(f"{key} difference", "Δ", kind, heading),
    ]  # fmt: skip


def _beside(row: Row, key: str, figure: float) -> None:
    ours = row.get(key)
    row[f"{key} published"] = Figure(figure)
    row[f"{key} difference"] = None if ours is None else ours - figure


def _published_note(request: Request, what: str) -> list[str]:
    if not request.published:
        return []
    return [f"† published (icml2025): {what}.", *([] if request.edition == "icml2025" else ["Only icml2025 has this table."])]


def _missing(request: Request) -> list[str]:
    lines = []
    written = list(_written(request))
    for pair in request.pairs or _PAIRS:
        tasks = [(task, cells) for p, task, cells in written if p == pair] or [(BENCHMARKS["GSM8K"][0], [])]
        for task, cells in tasks:
            lacking = [m for m in _METHODS if find_cell(cells, m) is None]
            if lacking:
                lines.append(f"Not run: {pair}, {task}: {run_command(request.results, pair, [task], lacking)}")
    return lines
