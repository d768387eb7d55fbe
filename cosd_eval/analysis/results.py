"""A results folder as data: cells, and pandas frames of their samples and scores. Reads only; no torch.

A folder holds `<pair>/<method>/<task>/` with cell.json, samples.jsonl, scores.json (once complete) and perhaps run.json.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cosd_eval.errors import StoreError
from cosd_eval.evaluation.store import FORMAT, key, read_json, read_samples
from cosd_eval.records import Metric, Sample, Score

_METHOD_ORDER = ("draft", "assistant", "speculative", "average", "co-llm", "cosd-rule", "cosd-tree")
_KEYS = ["pair", "method", "task", "scoring"]


@dataclass(frozen=True)
class Cell:
    """One (pair, method, task). method: the label, `cosd-rule:alpha=0.25`; members: names, draft first.

    scoring: "generation" or "log-likelihood" ("" if the record does not say). primary: (metric, filter) that tables show.
    """

    id: str
    pair: str
    method: str
    task: str
    scoring: str
    members: tuple[str, ...]
    published: dict[str, str]
    primary: tuple[str, str] | None
    notes: tuple[str, ...]
    identity: dict[str, Any]
    run: dict[str, Any]
    recorded: tuple[Score, ...]
    folder: Path

    @property
    def method_name(self) -> str:
        """The method without its parameters."""
        return self.method.partition(":")[0]

    @property
    def key(self) -> tuple[str, str, str, str]:
        return self.pair, self.method, self.task, self.scoring

    @property
    def member_index(self) -> int | None:
        """Which member alone this cell is, or None for a method that combines them."""
        return member_index(self.method, len(self.members))

    def score(self) -> Score | None:
        """The recorded score of the whole cell under its primary metric; None while the cell is not complete."""
        own = [s for s in self.recorded if s.subtask is None]
        if self.primary is None:
            return own[0] if own else None
        return next((s for s in own if (s.metric, s.filter) == self.primary), None)

    def read_samples(self) -> Iterator[Sample]:
        """The newest sample of each document. A last line cut off by a kill is left out. Raises StoreError."""
        yield from {key(sample): sample for sample in read_samples(self.folder)}.values()


def member_index(method: str, members: int) -> int | None:
    """The member a method label stands for: `draft` 0, `assistant` the last, `assistant:index=2` the second assistant."""
    name, _, parameters = method.partition(":")
    if name == "draft":
        return 0
    if name != "assistant":
        return None
    return int(parameters.partition("index=")[2]) if parameters.startswith("index=") else members - 1


def method_rank(label: str) -> tuple[int, str]:
    """Sorts methods as the paper does: members, baselines, CoSD."""
    name = label.partition(":")[0]
    return (_METHOD_ORDER.index(name) if name in _METHOD_ORDER else len(_METHOD_ORDER), label)


@dataclass(frozen=True, eq=False)
class Results:
    """Everything under a results folder. Frames are read on first use. Two are equal only if they are the same object.

    samples: one row a document of a cell: pair, method, task, scoring, subtask, doc_id, doc_hash, prompt, target, output, score
    (primary metric; nan if the sample lacks it), seconds, kind, finish and, for generation, the counters.
    metrics: one row a document and metric. scores: one row a metric of a cell or subtask.
    """

    folder: Path
    cells: tuple[Cell, ...] = field(default=())

    @property
    def pairs(self) -> list[str]:
        return list(dict.fromkeys(cell.pair for cell in self.cells))

    @cached_property
    def _frames(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        rows: list[dict[str, Any]] = []
        metrics: list[dict[str, Any]] = []
        texts: dict[str, str] = {}  # one copy of a prompt that many methods share
        for cell in self.cells:
            names = dict(zip(_KEYS, cell.key, strict=True))
            for sample in cell.read_samples():
                rows.append({**names, **_flat(cell, sample, texts)})
                where = {**names, "subtask": sample.subtask, "doc_id": sample.doc_id}
                metrics.extend({**where, **vars(metric)} for metric in sample.metrics)
        samples = pd.DataFrame(rows, columns=None if rows else [*_KEYS, *_SAMPLE])
        return samples, pd.DataFrame(metrics, columns=[*_KEYS, "subtask", "doc_id", "metric", "filter", "value"])

    @property
    def samples(self) -> pd.DataFrame:
        return self._frames[0]

    @property
    def metrics(self) -> pd.DataFrame:
        return self._frames[1]

    @cached_property
    def by_cell(self) -> dict[tuple[str, str, str, str], pd.DataFrame]:
        """The samples of each cell that has any, by `Cell.key`."""
        return {tuple(map(str, cell)): frame for cell, frame in self.samples.groupby(_KEYS, sort=False)}  # type: ignore[misc]

    @cached_property
    def scores(self) -> pd.DataFrame:
        columns = [*_KEYS, "subtask", "metric", "filter", "value", "stderr", "n", "higher_is_better", "note", "primary"]
        rows: list[dict[str, Any]] = []
        for cell in self.cells:
            names = dict(zip(_KEYS, cell.key, strict=True))
            for score in cell.recorded or self._unfinished(cell):
                primary = score.subtask is None and (score.metric, score.filter) == self.primary(cell)
                rows.append({**names, **vars(score), "primary": primary})
        frame: pd.DataFrame = pd.DataFrame(rows, columns=columns)
        return frame

    def primary(self, cell: Cell) -> tuple[str, str] | None:
        score = cell.score()
        return cell.primary or ((score.metric, score.filter) if score else None)

    def score(self, cell: Cell) -> Score | None:
        """The cell's score: as recorded or, while it is not complete, the mean of the samples there are. None: no sample."""
        return cell.score() or next(iter(self._unfinished(cell)), None)

    def _unfinished(self, cell: Cell) -> list[Score]:
        frame = self.by_cell.get(cell.key)
        values = frame["score"].dropna().tolist() if frame is not None else []
        if cell.primary is None or not len(values):
            return []
        stderr = float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
        note = f"not complete: mean of the {len(values)} documents done so far"
        return [Score(None, *cell.primary, float(np.mean(values)), stderr, len(values), note=note)]


_SAMPLE = ["subtask", "doc_id", "doc_hash", "prompt", "target", "output", "score", "seconds", "kind", "finish"]


def _flat(cell: Cell, sample: Sample, texts: dict[str, str]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "subtask": sample.subtask, "doc_id": sample.doc_id, "doc_hash": sample.doc_hash,
        "prompt": texts.setdefault(sample.prompt, sample.prompt), "target": sample.target, "output": output_text(sample),
        "score": _primary_value(cell, sample.metrics), "seconds": sample.seconds,
        "kind": "/".join(sorted({output["kind"] for output in sample.outputs})),
        "finish": sample.outputs[-1].get("finish") if sample.outputs else None,
    }  # fmt: skip
    for output in sample.outputs:
        for name, value in output.get("counters", {}).items():
            row[name] = row.get(name, 0) + value
    return row


def output_text(sample: Sample) -> str:
    """What the method answered: the text written or, of several continuations, the likeliest."""
    scored = [o for o in sample.outputs if "log_likelihood" in o]
    if scored:
        return str(max(scored, key=lambda o: o["log_likelihood"]).get("continuation", ""))
    return str(sample.outputs[-1].get("text", "")) if sample.outputs else ""


def _primary_value(cell: Cell, metrics: list[Metric]) -> float:
    score = cell.score()
    metric, filter = cell.primary or ((score.metric, score.filter) if score else ("", ""))
    wanted = metric.removesuffix("_gpirt"), filter  # an estimate from all documents: a single one has the metric beneath it
    return next((float(m.value) for m in metrics if (m.metric, m.filter) == wanted), float("nan"))


def load_results(folder: str | Path) -> Results:
    """Every cell under `folder`, sorted by pair, task and method. Raises StoreError if it is not there or a record is broken."""
    root = Path(folder)
    if not root.is_dir():
        raise StoreError(f"There is no results folder {root}: run `cosd-eval run ... --out {root}` first, or check --results.")
    cells = [_read_cell(path) for path in sorted(root.glob("*/*/*/cell.json"))]
    return Results(root, tuple(sorted(cells, key=lambda c: (c.pair, c.task, c.scoring, method_rank(c.method)))))


def _read_cell(path: Path) -> Cell:
    record = read_json(path)
    if not isinstance(record, dict):
        raise StoreError(f"{path} is not a cell record: remove its folder and run the cell again.")
    if record.get("format") != FORMAT:
        raise StoreError(
            f"{path} has format {record.get('format')!r}, this version reads {FORMAT}: use the version that wrote it."
        )
    try:
        primary = record.get("primary")
        task = record["identity"].get("task")
        scores = read_json(path.with_name("scores.json")) if path.with_name("scores.json").exists() else []
        run = read_json(path.with_name("run.json")) if path.with_name("run.json").exists() else {}
        return Cell(
            id=record["id"], pair=record["pair"], method=record["method"], task=record["task"],
            scoring=task.get("scoring", "") if isinstance(task, dict) else "", members=tuple(record["members"]),
            published=dict(record.get("published") or {}), primary=(primary["metric"], primary["filter"]) if primary else None,
            notes=tuple(record.get("notes") or ()), identity=record["identity"], run=run,
            recorded=tuple(Score(**s) for s in scores), folder=path.parent,
        )  # fmt: skip
    except (KeyError, TypeError, AttributeError) as e:
        raise StoreError(
            f"{path.parent} holds a record that cannot be read ({e!r}): remove that folder and run the cell again."
        ) from None
