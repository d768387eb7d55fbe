"""The tables `evidence` and `oracle`: what the scores of each cell are worth, document by document."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd

from cosd_eval.analysis import statistics
from cosd_eval.analysis.request import Request
from cosd_eval.analysis.results import Cell, Results, method_rank
from cosd_eval.analysis.selection import cell_notes, leak_of, rows_of, scale_of
from cosd_eval.analysis.statistics import Interval, Paired
from cosd_eval.analysis.table import Block, Column, Row, Table

_DOCUMENT = ["subtask", "doc_id"]


@dataclass(frozen=True)
class MethodEvidence:
    """One method on one task. against: by member label, the comparison on the documents both have."""

    cell: Cell
    scores: pd.Series  # indexed by (subtask, doc_id)
    interval: Interval
    against: dict[str, Paired]


@dataclass(frozen=True)
class TaskEvidence:
    """One task of one pair. better: the label of the member with the higher mean (None unless all members were run).

    sign: 1 if more is better. scale: 100 where scores are shown in percent.
    """

    pair: str
    task: str
    scoring: str
    methods: dict[str, MethodEvidence]
    better: str | None
    sign: int
    scale: float

    def regret(self, method: str) -> float | None:
        """Better member minus method, on the documents both have; None without a better member."""
        if self.better is None:
            return None
        if method == self.better:
            return 0.0
        paired = self.methods[method].against.get(self.better)
        return None if paired is None else -self.sign * paired.difference.mean


_KNOWN: WeakKeyDictionary[Results, dict[str, list[TaskEvidence]]] = WeakKeyDictionary()  # a report asks for the same thrice


def task_evidence(results: Results, pair: str) -> list[TaskEvidence]:
    """Every task of the pair that has samples, in order."""
    known = _KNOWN.setdefault(results, {})
    if pair not in known:
        known[pair] = list(_task_evidence(results, pair))
    return known[pair]


def _task_evidence(results: Results, pair: str) -> Iterator[TaskEvidence]:
    for (task, scoring, _), cells in rows_of(results, pair).items():
        columns = {cell.method: values for cell in cells if (values := _values(results, cell)) is not None}
        here = [cell for cell in cells if cell.method in columns]
        if not here:
            continue
        first = results.score(here[0])
        sign = 1 if first is None or first.higher_is_better else -1
        members = {cell.member_index: cell.method for cell in here if cell.member_index is not None}
        methods = {cell.method: _method_evidence(cell, columns, list(members.values())) for cell in here}
        complete = set(members) == set(range(len(here[0].members)))
        better = max(members.values(), key=lambda m: sign * methods[m].interval.mean) if complete else None
        yield TaskEvidence(pair, task, scoring, methods, better, sign, scale_of(first.metric) if first else 100.0)


def _values(results: Results, cell: Cell) -> "pd.Series[float] | None":
    frame = results.by_cell.get(cell.key)
    values = None if frame is None else frame.set_index(_DOCUMENT)["score"].dropna()
    return None if values is None or values.empty else values


def _method_evidence(cell: Cell, columns: dict[str, Any], members: list[str]) -> MethodEvidence:
    own = columns[cell.method]
    against = {}
    for member in members:
        if member != cell.method:
            both = pd.concat([own, columns[member]], axis=1, join="inner")
            if len(both):
                against[member] = statistics.compare(both.iloc[:, 0].tolist(), both.iloc[:, 1].tolist(), _groups(both))
    return MethodEvidence(cell, own, statistics.score_interval(own.tolist(), _groups(own)), against)


def _groups(frame: Any) -> list[str]:
    return [str(subtask) for subtask in frame.index.get_level_values("subtask")]


def evidence(request: Request) -> Table:
    tasks = {pair: task_evidence(request.results, pair) for pair in request.shown_pairs}
    adjusted = _holm([task for of_pair in tasks.values() for task in of_pair])
    blocks: list[Block] = []
    for pair, of_pair in tasks.items():
        if of_pair:
            labels = sorted({label for task in of_pair for m in task.methods.values() for label in m.against}, key=method_rank)
            rows = [_evidence_row(task, method, labels, adjusted) for task in of_pair for method in task.methods]
            leaks = [LEAK] if any(row["leak"] for row in rows) else []
            blocks += [Block(pair, [*_evidence_columns(labels), *leaks], rows), _verdicts(pair, of_pair, adjusted)]
    cells = [m.cell for of_pair in tasks.values() for task in of_pair for m in task.methods.values()]
    return Table("evidence", "Evidence: what the scores are worth", blocks, [*_EXPLAINED, *cell_notes(cells)])


_EXPLAINED = [
    "Percentages and points; measures without an upper bound as they are. Standard error and 95 % interval: Wilson's for "
    "right/wrong, else bootstrap over documents, or over a task's groups (its subjects) where it has five or more.",
    "Differences: method − member on the same documents, with bootstrap interval (Bonett-Price where they differ on fewer than "
    "ten). p: exact McNemar for right/wrong without groups, else the bootstrap's; Holm: over all comparisons in this table.",
    "Better member: the one with the higher score on these same documents, which favours it a little. "
    "better / worse: Holm-adjusted p < 0.05; same: no difference shown, which is not the same as no difference.",
    "Detectable: the smallest true difference that so many documents would show with 80 % power. Regret: better member − method.",
    "Where tinyBenchmarks' gp-IRT is the score elsewhere, this table is about the plain mean of the same documents.",
]

LEAK = Column("leak", "trained on")  # shown where there is something to tell

Adjusted = dict[tuple[str, str, str, str, str], float]  # (pair, task, scoring, method, member) -> Holm's p


def _holm(tasks: list[TaskEvidence]) -> Adjusted:
    """Over all comparisons of the table, each pair of members once (the later against the earlier)."""
    p_values: Adjusted = {}
    for task in tasks:
        for name, method in task.methods.items():
            for member, paired in method.against.items():
                index, other = method.cell.member_index, task.methods[member].cell.member_index
                if index is None or (other is not None and other < index):
                    p_values[task.pair, task.task, task.scoring, name, member] = paired.p
    return dict(zip(p_values, statistics.holm(list(p_values.values())), strict=True))


def _evidence_columns(labels: list[str]) -> list[Column]:
    columns = [
        Column("task", "task"),
        Column("method", "method"),
        Column("n", "n", "count"),
        Column("score", "score", "percent", "alone"),
    ]
    columns += [Column("stderr", "stderr", "percent", "alone"), *_ends("", "alone")]
    for label in labels:
        group = f"− {label}"
        columns += [Column(f"-{label} {key}", heading, kind, group) for key, heading, kind in _COMPARED]
    group = "against the better member"
    return [
        *columns, Column("better", "better member", "text", group), Column("regret", "regret", "points", group),
        Column("verdict", "verdict", "text", group), Column("detectable", "detectable", "percent", group),
    ]  # fmt: skip


def _ends(prefix: str, group: str) -> list[Column]:
    return [Column(f"{prefix}low", "low", "percent", group), Column(f"{prefix}high", "high", "percent", group)]


_COMPARED: list[tuple[str, str, Any]] = [
    ("difference", "Δ", "points"), ("low", "low", "points"), ("high", "high", "points"), ("gained", "only it", "count"),
    ("lost", "only member", "count"), ("mcnemar", "McNemar", "p"), ("p", "p", "p"), ("holm", "Holm", "p"),
]  # fmt: skip


def _evidence_row(task: TaskEvidence, name: str, labels: list[str], adjusted: Adjusted) -> Row:
    method, scale = task.methods[name], task.scale
    score = method.interval
    row: Row = {
        "task": task.task,
        "method": name,
        "n": len(method.scores),
        "score": score.mean * scale,
        "stderr": score.stderr * scale,
    }
    row |= {"low": score.low * scale, "high": score.high * scale, "_rule": name == next(iter(task.methods))}
    for label in labels:
        paired = method.against.get(label)
        holm = adjusted.get((task.pair, task.task, task.scoring, name, label))
        if paired is not None and holm is not None:
            d = paired.difference
            row |= {f"-{label} {k}": v * scale for k, v in (("difference", d.mean), ("low", d.low), ("high", d.high))}
            row |= {f"-{label} gained": paired.only_first, f"-{label} lost": paired.only_second}
            row |= {f"-{label} mcnemar": paired.mcnemar, f"-{label} p": paired.p, f"-{label} holm": holm}
    regret = task.regret(name)
    row |= {"better": task.better, "regret": None if regret is None else regret * scale, "verdict": verdict(task, name, adjusted)}
    detectable = method.against[task.better].detectable if task.better in method.against else None
    return row | {"detectable": None if detectable is None else detectable * scale, "leak": leak_of(method.cell)}


def verdict(task: TaskEvidence, name: str, adjusted: Adjusted) -> str | None:
    """ "better", "same" or "worse" than the better member; None for the members themselves and without a better member."""
    method = task.methods[name]
    if task.better is None or method.cell.member_index is not None or task.better not in method.against:
        return None
    if adjusted[task.pair, task.task, task.scoring, name, task.better] >= 0.05:
        return "same"
    return "better" if task.sign * method.against[task.better].difference.mean > 0 else "worse"


def _verdicts(pair: str, tasks: list[TaskEvidence], adjusted: Adjusted) -> Block:
    """Per method: verdicts counted over tasks; its mean score in percent, with mean and worst-case regret beside it."""
    columns = [
        Column("method", "method"), Column("tasks", "tasks", "count"),
        Column("better", "better", "count", "than the better member"),
        Column("same", "same", "count", "than the better member"), Column("worse", "worse", "count", "than the better member"),
        Column("mean", "mean score", "percent"), Column("mean regret", "mean regret", "points"),
        Column("worst regret", "worst-case regret", "points"), Column("where", "worst on"),
    ]  # fmt: skip
    rows: list[Row] = []
    for name in dict.fromkeys(name for task in tasks for name in task.methods):
        here = [task for task in tasks if name in task.methods and task.scale == 100]
        verdicts = [verdict(task, name, adjusted) for task in here]
        regrets = {task.task: r * 100 for task in here if (r := task.regret(name)) is not None}
        row: Row = {"method": name, "tasks": len(here), **{word: verdicts.count(word) for word in ("better", "same", "worse")}}
        # A mean is shown over all tasks or not at all, and never without its worst case.
        if here and len(regrets) == len(here) == sum(task.scale == 100 for task in tasks):
            row |= {
                "mean": float(np.mean([t.methods[name].interval.mean for t in here])) * 100,
                "mean regret": float(np.mean(list(regrets.values()))),
            }
            where = max(regrets, key=lambda task: regrets[task])
            row |= {"worst regret": regrets[where], "where": where}
        if not any(verdicts):
            row |= {"better": None, "same": None, "worse": None}
        row["leak"] = ", ".join(f"{leak} on {t.task}" for t in here if (leak := leak_of(t.methods[name].cell)))
        rows.append(row)
    return Block(f"{pair} · over its tasks", [*columns, LEAK] if any(row["leak"] for row in rows) else columns, rows)


def oracle(request: Request) -> Table:
    blocks = []
    for pair in request.shown_pairs:
        rows = [row for task in task_evidence(request.results, pair) for row in _oracle_rows(task)]
        if rows:
            leaks = [LEAK] if any(row.get("leak") for row in rows) else []
            blocks.append(Block(pair, [*_ORACLE_COLUMNS, *leaks], rows))
    notes = [
        "oracle: per document the better member, which perfect routing between whole answers would reach. On the documents that "
        "all cells of a task share.",
        "only it: right where every member alone is wrong; lost: wrong where a member alone is right (right/wrong scores only).",
        "gained of the gap: (method − better member) ÷ (oracle − better member).",
    ]
    return Table("oracle", "Oracle: perfect routing, and what only a method got right", blocks, notes)


_ORACLE_COLUMNS = [
    Column("task", "task"), Column("method", "method"), Column("n", "n", "count"), Column("score", "score", "percent"),
    Column("difference", "− better member", "points"), Column("only", "only it", "percent"), Column("lost", "lost", "percent"),
    Column("gained", "gained of the gap", "percent"),
]  # fmt: skip


def _oracle_rows(task: TaskEvidence) -> list[Row]:
    if task.better is None:
        return []
    frame = pd.concat({name: m.scores for name, m in task.methods.items()}, axis=1, join="inner")
    if frame.empty:
        return []
    members = [name for name, m in task.methods.items() if m.cell.member_index is not None]
    best = frame[members].max(axis=1) if task.sign > 0 else frame[members].min(axis=1)
    better = float(frame[task.better].mean())
    gap = float(best.mean()) - better
    right_wrong = bool(frame.isin([0.0, 1.0]).all(axis=None))
    rows: list[Row] = []
    for name, values in [*((str(name), frame[name]) for name in frame), ("oracle", best)]:
        difference = float(values.mean()) - better
        row: Row = {"task": task.task, "method": name, "n": len(frame), "score": float(values.mean()) * task.scale}
        row |= {"difference": difference * task.scale, "_rule": not rows}
        if name in task.methods:
            row["leak"] = leak_of(task.methods[name].cell)
        if name != "oracle" and name not in members:
            row["gained"] = difference / gap * 100 if gap else None
            if right_wrong:
                row |= {"only": float((values > best).mean()) * 100, "lost": float((values < best).mean()) * 100}
        rows.append(row)
    return rows
