"""The table `cost`: what each method spends per output token, beside its score and against each member alone."""

from typing import Any

import pandas as pd

from cosd_eval.analysis.request import Request
from cosd_eval.analysis.results import Cell, Results
from cosd_eval.analysis.selection import leak_of, rows_of, scale_of
from cosd_eval.analysis.table import Block, Column, Row, Table

SPENT = ("seconds_prefill", "seconds_draft", "seconds_verify")


def cost(request: Request) -> Table:
    blocks: list[Block] = []
    mixed: list[str] = []
    for pair in request.shown_pairs:
        rows: list[Row] = []
        for (task, _, _), cells in rows_of(request.results, pair).items():
            measured = [(cell, spent) for cell in cells if (spent := cell_cost(request.results, cell)) is not None]
            rows += _rows(request.results, task, measured)
            mixed += _warnings(f"{pair} {task}", [cell for cell, _ in measured])
        if rows:
            leaks = [Column("leak", "trained on")] if any(row["leak"] for row in rows) else []
            blocks.append(Block(pair, [*_columns(rows), *leaks], rows))
    return Table("cost", "Cost beside quality", blocks, [*_NOTES, *mixed])


_NOTES = [
    "Per output token for written answers, per document where given answers are scored. ms: time of the members' passes, each "
    "divided among its rows, so that it depends on batch size and machine; ×: times that of the named method on the same task.",
    "calls, tokens: verify passes and tokens read by assistants; asked: tokens at which an assistant's view was used; "
    "discarded: draft tokens thrown away.",
]


def _columns(rows: list[Row]) -> list[Column]:
    against = list(dict.fromkeys(key for row in rows for key in row if key.startswith("× ")))
    return [
        Column("task", "task"), Column("method", "method"), Column("n", "n", "count"), Column("score", "score", "percent"),
        Column("unit", "per"), Column("tokens", "tokens per document", "number"), Column("ms", "ms", "number"),
        *(Column(key, key, "number") for key in against), Column("calls", "calls", "number", "assistant"),
        Column("read", "tokens", "number", "assistant"), Column("asked", "asked %", "percent"),
        Column("replaced", "replaced %", "percent"),
        Column("discarded", "discarded %", "percent"), Column("batch", "batch", "count"), Column("device", "device"),
    ]  # fmt: skip


def cell_cost(results: Results, cell: Cell) -> dict[str, Any] | None:
    """What a cell spent: "unit" ("token" or "document"), "ms" a unit; for written answers also the assistants' work."""
    frame = results.by_cell.get(cell.key)
    if frame is None:
        return None
    written = float(frame["output_tokens"].sum()) if "output_tokens" in frame else 0.0
    if not written:
        return {"unit": "document", "ms": 1000 * float(frame["seconds"].mean())}
    total: pd.Series[float] = frame.select_dtypes("number").sum()
    drafted = float(total["draft_tokens"])
    return {
        "unit": "token", "ms": 1000 * sum(float(total[part]) for part in SPENT) / written, "tokens": written / len(frame),
        "calls": float(total["assistant_calls"]) / written, "read": float(total["assistant_tokens"]) / written,
        "asked": 100 * float(total["asked"]) / written, "replaced": 100 * float(total["replaced"]) / written,
        "discarded": 100 * float(total["draft_discarded"]) / drafted if drafted else None,
    }  # fmt: skip


def _machine(cell: Cell) -> tuple[Any, str]:
    return cell.run.get("batch_size"), "/".join(dict.fromkeys(map(str, cell.run.get("devices", []))))


def _warnings(where: str, cells: list[Cell]) -> list[str]:
    """What keeps the times of these cells from being compared."""
    together = max((cell.run.get("shared_pass", 1) for cell in cells), default=1)
    lines = [f"{where}: measured at different batch sizes or on different devices."] if len(set(map(_machine, cells))) > 1 else []
    return lines + ([f"{where}: one pass scored up to {together} methods, and each shows its time."] if together > 1 else [])


def _rows(results: Results, task: str, measured: list[tuple[Cell, dict[str, Any]]]) -> list[Row]:
    base = {c.method: spent for c, spent in measured if c.member_index is not None or c.method == "speculative"}
    rows: list[Row] = []
    for cell, spent in measured:
        score = results.score(cell)
        batch, device = _machine(cell)
        row: Row = {
            "task": task,
            "method": cell.method,
            **spent,
            "batch": batch,
            "device": device,
            "_rule": not rows,
            "leak": leak_of(cell),
        }
        if score is not None:
            row |= {"n": score.n, "score": score.value * scale_of(score.metric)}
        row |= {f"× {name}": spent["ms"] / b["ms"] for name, b in base.items() if b["ms"] and b["unit"] == spent["unit"]}
        rows.append(row)
    return rows
