"""`cosd-eval list …`: what there is."""

from collections.abc import Sequence

import typer

from cosd_eval.commands import options

app = typer.Typer(no_args_is_help=True, help="What there is: pairs, methods, tasks, tables.")


@app.command()
def pairs() -> None:
    """The shipped pairs: members, scenario, where the paper lists them."""
    from cosd_eval.config import list_pairs

    rows = []
    for pair in list_pairs():
        members = "\n".join(
            m.model + (f" (the paper's {m.published_as}, our reading)" if m.inferred and m.published_as else "")
            for m in pair.members
        )
        where = "\n".join(f"{edition}: {name}" for edition, name in pair.published.items())
        names = "\n".join((pair.name, *(f"= {alias}" for alias in pair.aliases)))
        rows.append((names, pair.scenario, members, where))
    _print(("pair", "scenario", "members, draft first", "in the paper"), rows)


@app.command()
def methods() -> None:
    """The methods and their parameters."""
    from cosd_eval.config import list_methods

    rows = []
    for name, spec in list_methods().items():
        parameters = {k: v for k, v in spec.model_dump().items() if k != "method"}
        shown = ", ".join(f"{k}={'not set' if v is None else v}" for k, v in parameters.items())
        rows.append((name, shown, " ".join((type(spec).__doc__ or "").split())))
    _print(("method", "parameters", "what it writes"), rows)


@app.command()
def tables() -> None:
    """The tables that `cosd-eval table` makes."""
    from cosd_eval.analysis.tables import TABLES

    _print(("table", "what it shows"), [(name, kind.description) for name, kind in TABLES.items()])


@app.command()
def tasks(data_dir: options.DataDir = None) -> None:
    """The benchmarks and suites: what they measure, how, how many items, and whether their data is at hand.

    Any other lm-eval task works too, from the hub.
    """
    options.existing_folder(data_dir, "--data-dir or COSD_DATA_DIR")
    options.prepare_libraries()
    from cosd_eval.config import list_suites
    from cosd_eval.evaluation.listing import list_tasks

    rows = [(t.name, t.measures, t.how, str(t.items), t.data) for t in list_tasks(data_dir)]
    _print(("task", "measures", "how", "items", "data"), rows)
    _print(("suite", "tasks", "note"), [(s.name, ", ".join(s.tasks), s.note) for s in list_suites().values()])


def _print(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*(c for c in columns), show_lines=any("\n" in cell for row in rows for cell in row))
    for row in rows:
        table.add_row(*row)
    console = Console(markup=False, highlight=False)
    if not console.is_terminal:
        console.width = 150
    console.print(table)
