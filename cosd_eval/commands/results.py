"""`cosd-eval table`, `report`, `export`: what a results folder says. Loads no model."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from cosd_eval.commands import options
from cosd_eval.errors import StoreError, UnknownName

DEFAULT_RESULTS = Path("results/run")


def table(
    name: Annotated[str, typer.Argument(help="Which: `cosd-eval list tables`.")],
    results: options.Results = DEFAULT_RESULTS,
    format: Annotated[str, typer.Option(help="text, markdown, csv, latex or json.")] = "text",
    output: Annotated[Path | None, typer.Option(help="Write it to this file.")] = None,
    published: Annotated[bool, typer.Option("--published", help="The paper's figures beside ours.")] = False,
    edition: Annotated[str, typer.Option(help="Of the paper: icml2025 or iclr2025.")] = "icml2025",
    pair: Annotated[list[str] | None, typer.Option(help="Only these; may be repeated.", show_default=False)] = None,
) -> None:
    """Make one table from results."""
    from cosd_eval.analysis.results import load_results
    from cosd_eval.analysis.tables import FORMATS, TABLES, build_table, render

    if format not in FORMATS:
        raise UnknownName("format", format, FORMATS)
    if name not in TABLES:
        raise UnknownName("table", name, TABLES)
    built = build_table(name, load_results(results), published=published, edition=edition, pairs=pair)
    write(render(built, format), output)


def report(
    results: options.Results = DEFAULT_RESULTS,
    output: Annotated[Path, typer.Option(help="The page.")] = Path("report.html"),
) -> None:
    """Make one self-contained HTML page: tables, plots, and every sample with who wrote each token."""
    from cosd_eval.analysis.report import write_report
    from cosd_eval.analysis.results import load_results

    write_report(load_results(results), output)
    typer.echo(f"Written: {output}")


def export(
    results: options.Results = DEFAULT_RESULTS,
    output: Annotated[Path, typer.Option(help="Folder for lm-eval's own results and samples files.")] = Path("lm-eval"),
) -> None:
    """Write results as lm-eval writes its own, so that its users' tools read them."""
    from cosd_eval.analysis.export import export_lm_eval
    from cosd_eval.analysis.results import load_results

    for path in export_lm_eval(load_results(results), output):
        typer.echo(f"Written: {path}")


def write(text: str, output: Path | None) -> None:
    """To a file, or to stdout in UTF-8 whatever the terminal says. Raises StoreError."""
    text = text if text.endswith("\n") else text + "\n"
    if output is None:
        sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
        typer.echo(text, nl=False)
        return
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text, encoding="utf-8")
    except OSError as e:
        raise StoreError(f"{output} cannot be written ({e.strerror}): choose another --output.") from None
