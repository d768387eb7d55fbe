"""The table `scores`: every metric of every cell, as measured."""

from cosd_eval.analysis.request import Request
from cosd_eval.analysis.selection import cell_notes, leak_of
from cosd_eval.analysis.table import Block, Column, Row, Table

_COLUMNS = [
    Column("pair", "pair", hidden=True), Column("task", "task", hidden=True), Column("method", "method"),
    Column("metric", "metric"), Column("filter", "filter"), Column("value", "value", "value"),
    Column("stderr", "stderr", "value"), Column("n", "n", "count"), Column("scoring", "scoring", hidden=True),
    Column("note", "note"),
]  # fmt: skip


def scores(request: Request) -> Table:
    """One block a (pair, task); the metric that other tables show comes first for each method."""
    frame = request.results.scores
    frame = frame[frame["subtask"].isna() & frame["pair"].isin(request.shown_pairs)]
    leaks = {cell.key[:3]: leak_of(cell) for cell in request.results.cells}
    blocks = []
    for (pair, task, scoring), part in frame.groupby(["pair", "task", "scoring"], sort=False):
        rows: list[Row] = []
        for _, of_method in part.groupby("method", sort=False):
            ordered = of_method.sort_values("primary", ascending=False, kind="stable")
            leak = leaks.get((str(pair), str(of_method["method"].iloc[0]), str(task)), "")
            for record in ordered.to_dict("records"):
                note = ", ".join(filter(None, (record["note"], leak)))
                rows.append({**{c.key: record[c.key] for c in _COLUMNS}, "note": note})
        blocks.append(Block(f"{pair} · {task}" + (f" · by {scoring}" if scoring else ""), _COLUMNS, rows))
    last = (
        "stderr as lm-eval computes it; subtasks of a group are in load_results(folder).scores."
        if blocks
        else "No cell has a score yet."
    )
    cells = [cell for cell in request.results.cells if cell.pair in request.shown_pairs]
    return Table("scores", "Scores as measured", blocks, [*cell_notes(cells), last], flat=True)
