"""One self-contained HTML page of a results folder: tables, plots, and a browser of samples. It never touches the network.

Prompts and outputs are untrusted text: jinja2 escapes all that stands in the page, samples travel as JSON that the page's script
only sets as text, and a content security policy lets no other script run.
"""

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from cosd_eval.analysis import figures
from cosd_eval.analysis.browse import browsable
from cosd_eval.analysis.figure2 import Grid
from cosd_eval.analysis.results import Results
from cosd_eval.analysis.table import Block, Column, Footnotes, Row, Table, plain, spans
from cosd_eval.analysis.tables import build_table
from cosd_eval.errors import StoreError

_LISTED = ("scores", "evidence", "oracle", "cost", "table2")


def write_report(results: Results, path: str | Path, samples_per_task: int = 50) -> None:
    """Write the page. samples_per_task: documents a (pair, task) that the browser holds, which bounds the page's size.

    Raises StoreError if there is nothing to report, or the file cannot be written.
    """
    if not results.cells:
        raise StoreError(f"{results.folder} holds no results: run `cosd-eval run ... --out {results.folder}` first.")
    page = render_report(results, samples_per_task)
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(page, encoding="utf-8", errors="replace")
    except OSError as e:
        raise StoreError(f"{path} cannot be written ({e.strerror or e}): choose another --output.") from None


def render_report(results: Results, samples_per_task: int = 50) -> str:
    environment = Environment(
        loader=PackageLoader("cosd_eval.analysis"), autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True
    )
    source = environment.loader
    assert source is not None
    style, script = (source.get_source(environment, name)[0] for name in ("report.css", "report.js"))
    samples = browsable(results, samples_per_task)
    readings = figures.readings(results)
    return environment.get_template("report.html").render(
        style=style, script=script, script_hash=_hash(script),
        data=embedded(samples), folder=str(results.folder), cells=len(results.cells), kept_note=_kept_note(samples),
        pairs=[_pair(results, pair, readings) for pair in results.pairs],
        tables=[_table(build_table(name, results, pairs=results.pairs)) for name in _LISTED],
    )  # fmt: skip


def _hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def embedded(content: Any) -> str:
    """JSON that can stand inside a script element: nothing in it can end the element or start a comment."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _kept_note(samples: list[dict[str, Any]]) -> str:
    kept, total = sum(len(s["documents"]) for s in samples), sum(s["total"] for s in samples)
    return (
        f"All {total} documents."
        if kept == total
        else f"{kept} of {total} documents, evenly spaced in each task, to keep this page small."
    )


def _pair(results: Results, pair: str, readings: dict[tuple[str, str, str], figures.Reading]) -> dict[str, Any]:
    evidence = build_table("evidence", results, pairs=[pair])
    summary = Table("summary", "", evidence.blocks[1:2], evidence.notes[2:4])
    return {
        "name": pair, "members": next(cell.members for cell in results.cells if cell.pair == pair), "summary": _table(summary),
        "cost": list(figures.score_against_cost(results, pair)), "replaced": list(figures.replaced_share(results, pair)),
        "where": list(figures.where_replaced(pair, readings)),
        "reliability": list(figures.members_reliability(results, pair, readings)),
        "grids": [_grid(task, grid) for task, grid in figures.grids(results, pair)],
    }  # fmt: skip


def _grid(task: str, grid: Grid) -> dict[str, Any]:
    alphas, betas = sorted({a for a, _ in grid}), sorted({b for _, b in grid})
    low, high = min(grid.values()), max(grid.values())

    def cell(point: tuple[float, float]) -> dict[str, Any] | None:
        value = grid.get(point)
        if value is None:
            return None
        shade = (value - low) / (high - low) if high > low else 0.5
        return {"text": f"{value:.2f}", "shade": f"{shade:.2f}", "best": value == high and high > low}

    rows = [{"beta": f"{b:g}", "cells": [cell((a, b)) for a in alphas]} for b in betas]
    return {"task": task, "alphas": [f"{a:g}" for a in alphas], "rows": rows}


def _table(table: Table) -> dict[str, Any]:
    """A table as the template wants it: text only, footnotes numbered."""
    notes = Footnotes()
    blocks = [_block(block, notes) for block in table.blocks]
    return {"title": table.title, "blocks": blocks, "footnotes": notes.texts, "notes": table.notes}


def _block(block: Block, notes: Footnotes) -> dict[str, Any]:
    columns = [c for c in block.columns if not c.hidden]
    groups = [(name, end - start) for name, start, end in spans(columns)] if any(c.group for c in columns) else []
    rows = [
        {"rule": bool(i and row.get("_rule")), "cells": list(_cells(columns, row, notes))} for i, row in enumerate(block.rows)
    ]
    return {"title": block.title, "groups": groups, "columns": columns, "rows": rows}


def _cells(columns: list[Column], row: Row, notes: Footnotes) -> Iterator[dict[str, Any]]:
    for column in columns:
        text = plain(row.get(column.key), column.kind)
        css = "num" if column.kind != "text" else text if text in ("better", "worse") else "long" if len(text) > 60 else ""
        yield {"text": text, "css": css, "marks": notes.marks(row.get(column.key))}
