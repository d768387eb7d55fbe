"""The paper's table 5: CoSD-Tree by the data that its tree was trained on."""

import re

from cosd_eval.analysis import published as paper
from cosd_eval.analysis.request import Request
from cosd_eval.analysis.results import Cell
from cosd_eval.analysis.selection import BENCHMARKS, benchmark_of, cell_notes, is_builtin, leak_of, rows_of, run_command, scale_of
from cosd_eval.analysis.table import Block, Column, Figure, Row, Table

# The paper's columns: as printed -> (data for `train tree`, samples). It does not say which MMLU or HumanEval documents.
COLUMNS = {
    "MMLU(10)": ("mmlu:validation", 10), "GSM8K(3)": ("gsm8k:train", 3), "HumanEval(3)": ("humaneval", 3),
    "AlpacaEval(3)": ("alpaca_eval", 3),
}  # fmt: skip


def table5(request: Request) -> Table:
    """A row a benchmark, a column each training set; trees trained on other data or samples follow in columns of their own."""
    blocks, used = [], []
    for pair in request.pairs or ("pair3",):
        groups = rows_of(request.results, pair)
        builtin = bool(groups) and all(is_builtin(task) for task, _, _ in groups)
        rows: list[Row] = []
        headings = list(COLUMNS)
        for benchmark in [task for task, _, _ in groups] if builtin else ["MMLU", "GSM8K", "HumanEval"]:
            for task in [t for t, _, _ in groups if (t if builtin else benchmark_of(t)) == benchmark] or [
                BENCHMARKS[benchmark][0]
            ]:
                trees = {h: c for (t, _, _), cells in groups.items() if t == task for c in cells if (h := trained_on(c))}
                headings += [heading for heading in trees if heading not in headings]
                used += list(trees.values())
                rows.append(_row(request, pair, benchmark, task, trees))
        blocks.append(Block(pair, _columns(headings, request.published), rows))
    notes = ["Percentages ± standard error. A column names the tree's training data and its number of samples."]
    if request.published:
        notes.append("† published (icml2025, pair 3), never measured here; Δ = ours − published.")
    return Table("table5", "Table 5: CoSD-Tree by training data", blocks, [*notes, *cell_notes(used), *_missing(request, blocks)])


_LEARNED = re.compile(r"learned from (\d+) samples of (\S+)")  # a cell's note, written when it was run


def trained_on(cell: Cell) -> str | None:
    """`GSM8K(3)`: the training data and samples of a cosd-tree cell, from its notes; None for other methods."""
    found = next(filter(None, map(_LEARNED.search, cell.notes)), None)
    if cell.method_name != "cosd-tree" or found is None:
        return None
    samples, data = found.groups()
    name = data.partition(":")[0].lower().replace("_", "").removeprefix("tiny")
    printed = next((h.partition("(")[0] for h in COLUMNS if h.partition("(")[0].lower() == name), data)
    return f"{printed}({samples})"


def _columns(headings: list[str], published: bool) -> list[Column]:
    columns = [Column("benchmark", "benchmark"), Column("task", "task")]
    for heading in headings:
        if not published:
            columns.append(Column(heading, heading, "percent"))
            continue
        columns += [
            Column(heading, "ours", "percent", heading), Column(f"{heading} published", "paper†", "percent", heading),
            Column(f"{heading} difference", "Δ", "points", heading),
        ]  # fmt: skip
    return columns


def _row(request: Request, pair: str, benchmark: str, task: str, trees: dict[str, Cell]) -> Row:
    row: Row = {"benchmark": benchmark, "task": task}
    for heading, cell in trees.items():
        score = request.results.score(cell)
        if score:
            scale = scale_of(score.metric)
            notes = (leak_of(cell),) if leak_of(cell) else ()
            row[heading] = Figure(score.value * scale, None if score.stderr is None else score.stderr * scale, score.n, notes)
    if request.published and pair == "pair3":
        for heading in COLUMNS:
            figure = paper.table5().get((benchmark, heading))
            ours = row.get(heading)
            if figure is not None:
                row |= {f"{heading} published": Figure(figure), f"{heading} difference": ours.value - figure if ours else None}
    return row


def _missing(request: Request, blocks: list[Block]) -> list[str]:
    lines = []
    for block in blocks:
        for heading, (data, samples) in COLUMNS.items():
            tasks = [row["task"] for row in block.rows if row.get(heading) is None]
            if tasks:
                file = f"trees/{block.title}-{re.sub('[^a-z]', '', heading.lower())}.json"
                train = f"cosd-eval train tree --pair {block.title} --data {data} --samples {samples} --seed 0 --out {file}"
                run = run_command(request.results, block.title, tasks, [f"cosd-tree:tree={file}"])
                lines.append(f"Not run: {block.title}, {heading}, {', '.join(tasks)}: {train} && {run}")
    return lines
