"""The report's plots: what is measured for each, from the results; `plots` draws them."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from cosd_eval.analysis import plots
from cosd_eval.analysis.cost import cell_cost
from cosd_eval.analysis.evidence import TaskEvidence, task_evidence
from cosd_eval.analysis.figure2 import Grid, task_grids
from cosd_eval.analysis.results import Cell, Results, method_rank
from cosd_eval.analysis.selection import leak_of, scale_of
from cosd_eval.analysis.speed import replaced_at
from cosd_eval.analysis.statistics import calibration_error, reliability
from cosd_eval.records import Sample

BINS = 10


@dataclass(frozen=True)
class Plot:
    """One drawing with its caption; svg is markup of ours, caption plain text."""

    caption: str
    svg: str


@dataclass(frozen=True)
class Reading:
    """What one pass over a cell's samples gives the plots.

    where: (share of tokens replaced, tokens) in each tenth of the outputs; None if nothing was written.
    confidence: (confidence in the answer, right or not) of each document with a right/wrong score, for a member alone.
    """

    where: list[tuple[float, int]] | None
    confidence: list[tuple[float, float]]


def read_cell(cell: Cell, metric: tuple[str, str] | None) -> Reading:
    replaced, tokens = [0] * BINS, [0] * BINS
    confidence: list[tuple[float, float]] = []
    for sample in cell.read_samples():
        for output in sample.outputs:
            if "provenance" in output:
                marks = replaced_at(output["provenance"])
                for i, mark in enumerate(marks):
                    place = i * BINS // len(marks)
                    tokens[place] += 1
                    replaced[place] += mark
        if cell.member_index is not None and metric is not None:
            right = next((m.value for m in sample.metrics if (m.metric, m.filter) == metric), None)
            sure = confidence_of(sample, cell.member_index)
            if right in (0.0, 1.0) and sure is not None:
                confidence.append((sure, float(right)))
    where = [(r / t if t else 0.0, t) for r, t in zip(replaced, tokens, strict=True)] if sum(tokens) else None
    return Reading(where, confidence)


def confidence_of(sample: Sample, member: int) -> float | None:
    """How sure a member alone is of its answer, in [0, 1].

    Of several continuations: the probability of the likeliest among them. Of a written answer: the geometric mean of the
    probabilities it gave its own tokens.
    """
    scored = [o["log_likelihood"] for o in sample.outputs if "log_likelihood" in o]
    if len(scored) > 1:
        return 1 / sum(math.exp(s - max(scored)) for s in scored)
    given = [p[member] for o in sample.outputs if "provenance" in o for p in o["provenance"]["probability"]]
    if not given or any(not p for p in given):
        return None
    return math.exp(sum(math.log(p) for p in given) / len(given))


def role(method: str) -> str:
    name = method.partition(":")[0]
    return "member" if name in ("draft", "assistant") else "cosd" if name.startswith("cosd-") else "baseline"


def score_against_cost(results: Results, pair: str) -> Iterator[Plot]:
    """Score with 95 % interval against time, a plot a task."""
    for task in task_evidence(results, pair):
        points, unit = [], "token"
        for name, method in task.methods.items():
            spent = cell_cost(results, method.cell)
            swept = name.startswith("cosd-rule:") and "cosd-rule" in task.methods  # the grid shows those
            if spent is not None and not swept:
                unit, i = spent["unit"], method.interval
                low, high = (i.mean if math.isnan(v) else v for v in (i.low, i.high))
                label = f"{name} ({leak})" if (leak := leak_of(method.cell)) else name
                points.append(
                    plots.Point(label, role(name), spent["ms"], i.mean * task.scale, low * task.scale, high * task.scale)
                )
        if points:
            y = "score (%)" if task.scale == 100 else "score"
            title = f"{pair}, {task.task}: score against milliseconds per {unit}"
            yield Plot(f"{task.task}, n = {_counts(task)}", plots.scatter(points, f"milliseconds per {unit}", y, title))


def _counts(task: TaskEvidence) -> str:
    counts = sorted({len(method.scores) for method in task.methods.values()})
    return "-".join(map(str, counts if len(counts) < 2 else (counts[0], counts[-1])))


def replaced_share(results: Results, pair: str) -> Iterator[Plot]:
    """Share of output tokens that are not the draft's choice, a plot a task."""
    for task in dict.fromkeys(cell.task for cell in results.cells if cell.pair == pair):
        values = []
        for cell in _of(results, pair, task):
            spent = cell_cost(results, cell)
            if cell.member_index is None and spent is not None and spent["unit"] == "token":
                values.append((cell.method, spent["replaced"]))
        if values:
            yield Plot(task, plots.bars(values, " %", f"{pair}, {task}: share of tokens replaced"))


def where_replaced(pair: str, readings: dict[tuple[str, str, str], Reading]) -> Iterator[Plot]:
    """Share of tokens replaced along the output, in tenths of its length, a plot a task; six methods, defaults first."""
    for task in dict.fromkeys(t for p, _, t in readings if p == pair):
        found: list[plots.Line] = []
        for method in sorted((m for p, m, t in readings if (p, t) == (pair, task)), key=lambda m: (":" in m, method_rank(m))):
            where = readings[pair, method, task].where
            if where is not None and role(method) != "member" and any(share for share, _ in where):
                points = [(100 * (i + 0.5) / BINS, 100 * share, None) for i, (share, count) in enumerate(where) if count]
                found.append(plots.Line(method, points))
        if found:
            title = f"{pair}, {task}: share of tokens replaced along the output"
            yield Plot(task, plots.lines(found[:6], "place in the output (%)", "replaced (%)", title))


def members_reliability(results: Results, pair: str, readings: dict[tuple[str, str, str], Reading]) -> Iterator[Plot]:
    """Share of right answers against confidence, for each member alone, a plot a task."""
    for task in dict.fromkeys(cell.task for cell in results.cells if cell.pair == pair):
        drawn = []
        for cell in _of(results, pair, task):
            pairs = readings[pair, cell.method, task].confidence
            if cell.member_index is not None and pairs:
                points = reliability([c for c, _ in pairs], [r for _, r in pairs])
                label = f"{cell.method} (ECE {calibration_error(points):.2f})"
                drawn.append(plots.Line(label, [(100 * c, 100 * r, n) for c, r, n in points]))
        if drawn:
            title = f"{pair}, {task}: share right against confidence of the members"
            yield Plot(task, plots.lines(drawn, "confidence (%)", "right (%)", title, diagonal=True, top=100))


def _of(results: Results, pair: str, task: str) -> list[Cell]:
    return [cell for cell in results.cells if (cell.pair, cell.task) == (pair, task)]


def grids(results: Results, pair: str) -> Iterator[tuple[str, Grid]]:
    """The alpha-beta grid of every task on which cosd-rule ran with more than one setting."""
    for task, grid in task_grids(results, pair).items():
        if len(grid) > 1:
            yield task, grid


def readings(results: Results) -> dict[tuple[str, str, str], Reading]:
    """(pair, method, task) -> one reading of its samples; the metric beneath an estimate is the document's own."""
    found = {}
    for cell in results.cells:
        primary = results.primary(cell)
        metric = (primary[0].removesuffix("_gpirt"), primary[1]) if primary and scale_of(primary[0]) == 100 else None
        found[cell.pair, cell.method, cell.task] = read_cell(cell, metric)
    return found
