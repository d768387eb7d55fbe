"""Fills a published layout: a block a pair, a row a benchmark, a column a method; the mean with worst-case regret below it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from cosd_eval.analysis import published as paper
from cosd_eval.analysis.request import Request
from cosd_eval.analysis.results import Cell
from cosd_eval.analysis.selection import (
    BENCHMARKS,
    benchmark_of,
    can_run,
    cell_notes,
    find_cell,
    is_builtin,
    published_names,
    rows_of,
    run_command,
    scale_of,
)
from cosd_eval.analysis.table import Block, Column, Figure, Row, Table
from cosd_eval.records import Score

_READ = (
    "Percentages ± standard error. Worst-case regret: the most points that a method falls short of the better member in any row."
)
_MARK = (
    "† published ({edition}), not measured here, its worst-case regret worked out from its cells; Δ = ours − published. "
    "Models, prompts and items may differ."
)


@dataclass(frozen=True)
class Layout:
    """One published table. pairs: each with its benchmarks; figures: the paper's, keyed by the edition's pair names.

    names: the edition's names of these pairs where the pairs' own YAML does not tell.
    """

    name: str
    title: str
    pairs: Mapping[str, tuple[str, ...]]
    methods: tuple[str, ...]
    figures: paper.Figures
    edition: str
    headings: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """One row before it is filled. cells: what was run of it, any method."""

    benchmark: str
    task: str
    scoring: str
    estimator: str
    cells: list[Cell]


def fill(layout: Layout, request: Request) -> Table:
    every = tuple(dict.fromkeys(b for benchmarks in layout.pairs.values() for b in benchmarks))
    pairs = {pair: layout.pairs.get(pair, every) for pair in request.pairs} or dict(layout.pairs)
    blocks: list[Block] = []
    notes: list[str] = [_READ, *([_MARK.format(edition=layout.edition)] if request.published else []), *layout.notes]
    used: list[Cell] = []
    commands: list[str] = []
    for pair, benchmarks in pairs.items():
        entries = _entries(request, pair, benchmarks)
        known_as = _known_as(layout, request, pair)
        if request.published and known_as is None:
            notes.append(f"The paper has no figures for {pair}.")
        for title, part in _by_estimator(entries):
            rows = [_row(layout, request, entry, known_as) for entry in part]
            rows += _summary(layout, request, part, rows, known_as)
            blocks.append(Block(_title(pair, known_as, layout) + title, _columns(layout, request.published), rows))
        used += [c for entry in entries for m in layout.methods if (c := find_cell(entry.cells, m))]
        commands += _commands(layout, request, pair, entries)
    if request.published:
        notes += [note for m in layout.methods for note in paper.inconsistencies(layout.name, layout.edition, method=m)]
        if request.edition != layout.edition:
            notes.append(f"Only {layout.edition} has this table.")
    others = [pair for pair in request.results.pairs if pair not in pairs]
    if others and not used:
        notes.append(
            f"These results hold other pairs: add --pair {others[0]}" + (f" (or {', '.join(others[1:])})." if others[1:] else ".")
        )
    return Table(layout.name, layout.title, blocks, [*notes, *cell_notes(used, of_all_methods=True), *commands])


def _entries(request: Request, pair: str, benchmarks: tuple[str, ...]) -> list[Entry]:
    """The layout's benchmarks, as the tasks that were run for them; a built-in pair's own tasks."""
    groups = rows_of(request.results, pair)
    if groups and all(is_builtin(task) for task, _, _ in groups):
        return [Entry(task, task, scoring, estimator, cells) for (task, scoring, estimator), cells in groups.items()]
    entries = []
    for benchmark in benchmarks:
        found = [Entry(benchmark, *key, cells) for key, cells in groups.items() if benchmark_of(key[0]) == benchmark]
        entries += found or [Entry(benchmark, BENCHMARKS[benchmark][0], "", "", [])]
    return entries


def _by_estimator(entries: list[Entry]) -> list[tuple[str, list[Entry]]]:
    """gp-IRT estimates and plain means of the same items never share a column: a block for each where there are both."""
    kinds = sorted({e.estimator for e in entries} & {"gp-IRT", "plain mean"})
    if len(kinds) < 2:
        return [("", entries)]
    return [(f" · {kind}", [e for e in entries if e.estimator in ("", kind)]) for kind in kinds]


def _known_as(layout: Layout, request: Request, pair: str) -> str | None:
    """The name under which the edition prints this pair, if it does."""
    name = (
        layout.names.get(pair)
        or published_names(request.results, pair).get(layout.edition)
        or paper.pair_in(layout.edition, pair)
    )
    return name if any(key[0] == name for key in layout.figures) else None


def _title(pair: str, known_as: str | None, layout: Layout) -> str:
    return pair if known_as in (None, pair) else f"{pair} ({known_as} in {layout.edition})"


def _columns(layout: Layout, published: bool) -> list[Column]:
    columns = [Column("benchmark", "benchmark"), Column("task", "task"), Column("how", "scored by"), Column("n", "n")]
    for method in layout.methods:
        heading = layout.headings.get(method, method)
        if not published:
            columns.append(Column(method, heading, "percent"))
            continue
        columns.append(Column(method, "ours", "percent", heading))
        columns.append(Column(f"{method} published", "paper†", "percent", heading))
        columns.append(Column(f"{method} difference", "Δ", "points", heading))
    return columns


def _row(layout: Layout, request: Request, entry: Entry, known_as: str | None) -> Row:
    cells = {method: cell for method in layout.methods if (cell := find_cell(entry.cells, method))}
    scores = {method: request.results.score(cell) for method, cell in cells.items()}
    counts = sorted({score.n for score in scores.values() if score})
    shared = set.intersection(*(set(cell.notes) for cell in cells.values())) if cells else set()
    row: Row = {
        "benchmark": entry.benchmark, "task": entry.task, "how": ", ".join(filter(None, (entry.scoring, entry.estimator))),
        "n": "-".join(str(n) for n in (counts if len(counts) < 2 else (counts[0], counts[-1]))),
    }  # fmt: skip
    for method in layout.methods:
        score = scores.get(method)
        if score:
            cell, scale = cells[method], scale_of(score.metric)
            notes = _footnotes(layout, method, cell, score, shared, entry.estimator)
            notes += [f"n = {score.n}"] if len(counts) > 1 else []
            row[method] = Figure(
                score.value * scale, None if score.stderr is None else score.stderr * scale, score.n, tuple(notes)
            )
        if request.published:
            _beside(layout, row, entry.benchmark, method, known_as)
    return row


def _footnotes(layout: Layout, method: str, cell: Cell, score: Score, shared: set[str], estimator: str) -> list[str]:
    """What is to be said of this figure alone: not what its whole row shares, or the column `scored by` says."""
    notes = [note for note in cell.notes if note not in shared]
    notes += [score.note] if score.note and not (estimator and score.note.startswith(estimator)) else []
    another = cell.method != method and method not in layout.headings and cell.member_index is None
    return notes + ([f"this is {cell.method}"] if another else [])


def _beside(layout: Layout, row: Row, benchmark: str, method: str, known_as: str | None, computed: float | None = None) -> None:
    """Put the published figure, or one computed from published ones, and our difference from it beside ours."""
    figure = layout.figures.get((known_as or "", benchmark, method), computed)
    if figure is None:
        return
    notes = paper.inconsistencies(layout.name, layout.edition, known_as or "", benchmark, method)
    row[f"{method} published"] = Figure(figure, notes=notes)
    ours = _value(row, method)
    row[f"{method} difference"] = None if ours is None else ours - figure


def _value(row: Row, key: str) -> float | None:
    figure: Any = row.get(key)
    return figure.value if isinstance(figure, Figure) else figure


def _summary(layout: Layout, request: Request, entries: list[Entry], rows: list[Row], known_as: str | None) -> list[Row]:
    """The mean over benchmarks and, always with it, worst-case regret. Empty for a method that lacks a row."""
    mean: Row = {"benchmark": "mean", "_rule": True}
    worst: Row = {"benchmark": "worst-case regret"}
    for method in layout.methods:
        mean[method], worst[method] = _mean(rows, method), _worst_regret(rows, method, layout.methods, "")
        if request.published:
            _beside(layout, mean, paper.MEAN, method, known_as, _mean(rows, f"{method} published"))
            worst[f"{method} published"] = _worst_regret(rows, method, layout.methods, " published")
    return [mean, worst]


def _mean(rows: list[Row], key: str) -> float | None:
    """The mean over benchmarks; one that several tasks measure counts once. None if a row is empty."""
    values = [(row["benchmark"], _value(row, key)) for row in rows]
    if not values or any(value is None for _, value in values):
        return None
    means = [_average([v for _, v in group if v is not None]) for _, group in groupby(values, key=lambda item: item[0])]
    return _average(means)


def _average(values: list[float]) -> float:
    return sum(values) / len(values)


def _worst_regret(rows: list[Row], method: str, methods: tuple[str, ...], suffix: str) -> float | None:
    members = [m for m in methods if m == "draft" or m.startswith("assistant")]
    regrets = []
    for row in rows:
        alone = [_value(row, m + suffix) for m in members]
        ours = _value(row, method + suffix)
        if ours is None or any(a is None for a in alone):
            return None
        regrets.append(max(a for a in alone if a is not None) - ours)
    return max(regrets, default=None)


def _commands(layout: Layout, request: Request, pair: str, entries: list[Entry]) -> list[str]:
    """For the cells that were not run, the commands that fill them, tasks that lack the same methods together."""
    missing: dict[tuple[str, ...], list[str]] = {}
    for entry in entries:
        lacking = tuple(m for m in layout.methods if find_cell(entry.cells, m) is None)
        if lacking:
            missing.setdefault(lacking, []).append(entry.task)
    lines = []
    for methods, tasks in missing.items():
        possible = [m for m in methods if can_run(m)]
        if possible:
            lines.append(f"Not run: {pair}, {', '.join(tasks)}: {run_command(request.results, pair, tasks, possible)}")
        lines += [f"{m} is not among this version's methods: its cells stay empty." for m in methods if m not in possible]
    return list(dict.fromkeys(lines))
