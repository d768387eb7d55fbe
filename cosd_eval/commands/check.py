"""`cosd-eval check`: do the members load, do they share a vocabulary, what memory they need; and `check parity`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cosd_eval.commands import options
from cosd_eval.errors import ConfigError

if TYPE_CHECKING:
    from cosd_eval.decoding.pair import Pair

app = typer.Typer(help="Does a pair work here?")


@app.callback(invoke_without_command=True)
def check(
    context: typer.Context,
    pair: Annotated[
        list[str] | None, typer.Option(help="A shipped pair's name, or a YAML file; may be repeated.", show_default=False)
    ] = None,
    model_dir: options.ModelDir = None,
    dtype: options.Dtype = None,
    device: options.Device = None,
    batch_size: options.BatchSize = 8,
) -> None:
    """Load a pair's members and say whether they share a vocabulary, their sizes, and the memory needed.

    Exit code 1 if they do not share a vocabulary.
    """
    if context.invoked_subcommand is not None:
        return
    if not pair:
        raise ConfigError("No pair was given: add --pair qwen-coder (`cosd-eval list pairs` shows more).")
    options.existing_folder(model_dir, "--model-dir or COSD_MODEL_DIR")
    options.prepare_libraries()
    from cosd_eval.decoding.pair import Pair

    shared = True
    for name in pair:
        loaded = Pair.load(name, model_dir=model_dir, dtype=dtype, device=device)
        _show_members(loaded, batch_size)
        shared = shared and loaded.shared
    if not shared:
        raise typer.Exit(1)


def _show_members(pair: "Pair", batch_size: int) -> None:
    from rich.console import Console
    from rich.table import Table

    from cosd_eval.decoding.vocabulary import difference

    memory = pair.memory()
    table = Table("member", "parameters", "weights", "rows a token", "context", "dtype", "device", title=pair.spec.name)
    for row in memory:
        table.add_row(
            row["member"], f"{row['parameters'] / 1e6:,.1f} M", _bytes(row["weight_bytes"]), _bytes(row["row_bytes_per_token"]),
            f"{row['max_length']:,}", row["dtype"], row["device"],
        )  # fmt: skip
    Console(width=None if Console().is_terminal else 130).print(table)
    tokens = min(pair.max_length, 2048)
    rows = batch_size * tokens * sum(row["row_bytes_per_token"] for row in memory)
    weights = sum(row["weight_bytes"] for row in memory)
    typer.echo(
        f"Memory: weights {_bytes(weights)}; key/value rows of {batch_size} texts of {tokens} tokens {_bytes(rows)}; "
        "and what a pass needs."
    )
    if pair.shared:
        typer.echo(f"The members share one vocabulary of {len(pair.tokenizer):,} tokens: every method runs.")
        return
    for member in pair.members[1:]:
        if found := difference(pair.tokenizer, member.tokenizer):
            typer.echo(
                f"{pair.members[0].name} and {member.name} do not share a vocabulary: {found}; only draft and assistant run."
            )


def _bytes(count: int) -> str:
    value, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.3g} {unit}" if value < 1000 else f"{value:.0f} {unit}"


@app.command()
def parity(
    pair: options.Pairs,
    tasks: Annotated[str, typer.Option(help="lm-eval's names, suites, or task YAMLs, comma between.", show_default=False)],
    limit: Annotated[int | None, typer.Option(min=1, help="First so many documents of each task.")] = None,
    data_dir: options.DataDir = None,
    model_dir: options.ModelDir = None,
    dtype: Annotated[
        str, typer.Option(help="In float32 all samples should agree; in others a rounding may tip one.")
    ] = "float32",
    device: options.Device = None,
    batch_size: options.BatchSize = 8,
    num_fewshot: Annotated[
        int | None, typer.Option(min=0, help="Examples in the prompt, instead of the task's own number.")
    ] = None,
    confirm_run_unsafe_code: Annotated[
        bool, typer.Option("--confirm-run-unsafe-code", help="Run the programs that models write (confined).")
    ] = False,
) -> None:
    """Compare each member alone with lm-eval's own `hf` model, sample by sample. Exit code 1 if a sample differs."""
    options.existing_folder(data_dir, "--data-dir or COSD_DATA_DIR")
    options.existing_folder(model_dir, "--model-dir or COSD_MODEL_DIR")
    options.prepare_libraries()
    from cosd_eval.decoding.loop import Options
    from cosd_eval.evaluation.parity import compare
    from cosd_eval.evaluation.runner import Settings
    from cosd_eval.evaluation.tasks import TaskOptions

    settings = Settings(
        pairs=tuple(pair),
        tasks=options.split_names(tasks),
        methods=(),
        out=Path(),
        limit=limit,
        model_dir=model_dir,
        dtype=dtype,
        device=device,
        options=Options(batch_size),
        task_options=TaskOptions(data_dir, num_fewshot),
        confirm_unsafe=confirm_run_unsafe_code,
    )
    agree = True
    for found in compare(settings, lambda text: typer.echo(text, err=True)):
        agree = agree and found.agrees
        differing = f"; differing: {', '.join(found.differing[:10])}" if found.differing else ""
        gap = f", largest log-likelihood gap {found.gap:.2g}" if found.gap else ""
        typer.echo(
            f"{found.pair} · {found.task} · {found.method}: scores equal {found.equal}/{found.n}, "
            f"outputs equal {found.same_output}/{found.n}{gap}{differing}"
        )
    typer.echo("All samples agree with lm-eval's hf." if agree else "Not all samples agree with lm-eval's hf.")
    if not agree:
        raise typer.Exit(1)
