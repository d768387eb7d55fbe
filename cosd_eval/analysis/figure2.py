"""The paper's figure 2: CoSD-Rule over a grid of alpha and beta, as the sum of the scores on MMLU and GSM8K."""

from cosd_eval.analysis import published as paper
from cosd_eval.analysis.request import Request
from cosd_eval.analysis.results import Cell, Results
from cosd_eval.analysis.selection import BENCHMARKS, benchmark_of, is_builtin, rows_of, run_command, scale_of
from cosd_eval.analysis.table import Block, Column, Figure, Row, Table

ALPHAS = (0.25, 0.5, 0.75)
BETAS = (0.5, 0.75, 1.0, 1.25)
_PAIRS = ("pair3", "pair2")
Grid = dict[tuple[float, float], float]  # (alpha, beta) -> percent


def figure2(request: Request) -> Table:
    blocks, notes = (
        [],
        ["A sum hides a loss on one task: worst-case regret against the better member stands below it."],
    )
    if request.published:
        notes.append("† published (icml2025), never measured here; Δ = ours − published.")
    for pair in request.pairs or _PAIRS:
        grids = task_grids(request.results, pair)
        tasks = _tasks(request.results, pair)
        whole = [point for point in _points(grids) if tasks and all(point in grids[task] for task in tasks)]
        total = {point: sum(grids[task][point] for task in tasks) for point in whole}
        published = {(a, b): v for (p, a, b), v in paper.figure2().items() if p == pair} if request.published else {}
        points = set(whole) | {(a, b) for a in ALPHAS for b in BETAS}
        name = " + ".join(tasks) or "MMLU + GSM8K"
        blocks.append(_block(f"{pair} · {name}", points, total, published, request.published))
        regrets = [regret for task in tasks if (regret := _regret(request.results, pair, task, grids[task])) is not None]
        if tasks and len(regrets) == len(tasks):
            worst = {point: max(regret[point] for regret in regrets) for point in whole}
            blocks.append(_block(f"{pair} · worst-case regret", points, worst, {}, False))
        blocks += [_block(f"{pair} · {task}", set(grids[task]), grids[task], {}, False) for task in tasks if len(tasks) > 1]
        notes += _missing(request.results, pair, tasks, grids)
    return Table("figure2", "Figure 2: CoSD-Rule by alpha and beta", blocks, list(dict.fromkeys(notes)))


def task_grids(results: Results, pair: str) -> dict[str, Grid]:
    """task -> its grid, for every task on which cosd-rule was run."""
    grids: dict[str, Grid] = {}
    for (task, _, _), cells in rows_of(results, pair).items():
        for cell in cells:
            score = results.score(cell)
            if (point := parameters(cell)) and score:
                grids.setdefault(task, {})[point] = score.value * scale_of(score.metric)
    return grids


def parameters(cell: Cell) -> tuple[float, float] | None:
    """(alpha, beta) of a cosd-rule cell, else None."""
    method = cell.identity.get("method")
    if cell.method_name != "cosd-rule" or not isinstance(method, dict):
        return None
    return float(method.get("alpha", 0.5)), float(method.get("beta", 0.5))


def _tasks(results: Results, pair: str) -> list[str]:
    """The tasks that are added up: one each for MMLU and GSM8K; all the built-in tasks of a built-in pair."""
    tasks = list(task_grids(results, pair))
    if tasks and all(is_builtin(task) for task in tasks):
        return tasks
    found = [next((t for t in tasks if benchmark_of(t) == benchmark), None) for benchmark in ("MMLU", "GSM8K")]
    return [task for task in found if task] if all(found) else []


def _points(grids: dict[str, Grid]) -> list[tuple[float, float]]:
    return sorted({point for grid in grids.values() for point in grid})


def _regret(results: Results, pair: str, task: str, grid: Grid) -> Grid | None:
    """Better member minus each point of the grid; None unless every member was run alone."""
    cells: list[Cell] = [
        cell for cell in results.cells if cell.pair == pair and cell.task == task and cell.member_index is not None
    ]
    alone = [score.value * scale_of(score.metric) for cell in cells if (score := results.score(cell))]
    if not cells or len({cell.member_index for cell in cells}) < len(cells[0].members) or len(alone) < len(cells):
        return None
    return {point: max(alone) - value for point, value in grid.items()}


def _block(title: str, points: set[tuple[float, float]], ours: Grid, published: Grid, beside: bool) -> Block:
    alphas, betas = sorted({a for a, _ in points}), sorted({b for _, b in points})
    columns = [Column("beta", "beta")]
    for a in alphas:
        name = f"alpha={a:g}"
        columns.append(Column(name, "ours" if beside else name, "percent", name if beside else ""))
        if beside:
            columns += [Column(f"{name} published", "paper†", "percent", name), Column(f"{name} difference", "Δ", "points", name)]
    rows: list[Row] = []
    for b in betas:
        row: Row = {"beta": f"{b:g}"}
        for a in alphas:
            name, value, figure = f"alpha={a:g}", ours.get((a, b)), published.get((a, b))
            row[name] = value
            if figure is not None:
                notes = paper.inconsistencies("figure2", "icml2025", title.partition(" ")[0])
                row[f"{name} published"] = Figure(figure, notes=notes)
                row[f"{name} difference"] = None if value is None else value - figure
        rows.append(row)
    return Block(title, columns, rows)


def _missing(results: Results, pair: str, tasks: list[str], grids: dict[str, Grid]) -> list[str]:
    wanted = {(a, b) for a in ALPHAS for b in BETAS}
    if tasks and all(wanted <= set(grids[task]) for task in tasks):
        return []
    names = tasks or [BENCHMARKS["MMLU"][0], BENCHMARKS["GSM8K"][0]]
    sweep = f"cosd-rule:alpha={'|'.join(f'{a:g}' for a in ALPHAS)},beta={'|'.join(f'{b:g}' for b in BETAS)}"
    return [f"Not all run: {pair}: {run_command(results, pair, names, ['draft', 'assistant', sweep])}"]
