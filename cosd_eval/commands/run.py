"""`cosd-eval run`: fill the cells of a table."""

from pathlib import Path
from typing import Annotated

import typer

from cosd_eval.commands import options
from cosd_eval.errors import ConfigError


def run(
    pair: options.Pairs,
    tasks: Annotated[str, typer.Option(help="lm-eval's names, suites, or task YAMLs, comma between.", show_default=False)],
    methods: Annotated[str | None, typer.Option(help="Plain names, comma between: draft,assistant,cosd-rule.")] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="A name with parameters, cosd-rule:alpha=0.25,beta=1; a|b sweeps; may be repeated.", show_default=False
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Results folder; a run into an old one goes on from there.")] = Path("results/run"),
    limit: Annotated[int | None, typer.Option(min=1, help="First so many documents of each task (of each MMLU subject).")] = None,
    data_dir: options.DataDir = None,
    model_dir: options.ModelDir = None,
    dtype: options.Dtype = None,
    device: options.Device = None,
    batch_size: options.BatchSize = 8,
    draft_length: Annotated[str, typer.Option(help="auto, full, or a number of tokens; changes speed alone.")] = "auto",
    gate: Annotated[bool, typer.Option(help="Skip the assistants where the method can decide without them.")] = True,
    seed: Annotated[int, typer.Option(help="Draws the few-shot examples.")] = 1234,
    num_fewshot: Annotated[
        int | None, typer.Option(min=0, help="Examples in the prompt, instead of the task's own number.")
    ] = None,
    apply_chat_template: Annotated[bool, typer.Option("--apply-chat-template", help="Use the draft's chat template.")] = False,
    system_instruction: Annotated[str | None, typer.Option(help="System prompt.")] = None,
    fewshot_as_multiturn: Annotated[
        bool | None, typer.Option(help="Examples as turns of the chat (the default where there is one).", show_default=False)
    ] = None,
    multiple_choice: Annotated[
        str, typer.Option(help="loglikelihood: the likeliest choice; generate: the letter the model writes.")
    ] = "loglikelihood",
    truncate_prompts: Annotated[
        bool,
        typer.Option(
            "--truncate-prompts", help="Cut off on the left what a context does not hold, as lm-eval does; else it is refused."
        ),
    ] = False,
    allow_seen_documents: Annotated[
        bool,
        typer.Option(
            "--allow-seen-documents", help="Evaluate a tree or layer on documents it was trained on (marked as leakage)."
        ),
    ] = False,
    confirm_run_unsafe_code: Annotated[
        bool, typer.Option("--confirm-run-unsafe-code", help="Run the programs that models write (confined).")
    ] = False,
) -> None:
    """Run every method on the same items, and keep every sample.

    A run that was stopped goes on from where it was when started again; a larger --limit goes on from a smaller one.
    """
    if multiple_choice not in ("loglikelihood", "generate"):
        raise ConfigError(f"--multiple-choice {multiple_choice} is not known: give loglikelihood or generate.")
    specs = options.parse_methods(methods, method)
    names = options.split_names(tasks)
    if not names:
        raise ConfigError("No task was given: add --tasks gsm8k,mmlu (`cosd-eval list tasks` shows more).")
    length = options.parse_draft_length(draft_length)
    options.existing_folder(data_dir, "--data-dir or COSD_DATA_DIR")
    options.existing_folder(model_dir, "--model-dir or COSD_MODEL_DIR")
    options.prepare_libraries()

    from cosd_eval.commands.progress import Bars, summary
    from cosd_eval.decoding.loop import Options
    from cosd_eval.evaluation.runner import Settings
    from cosd_eval.evaluation.runner import run as fill
    from cosd_eval.evaluation.tasks import TaskOptions

    settings = Settings(
        pairs=tuple(pair),
        tasks=names,
        methods=specs,
        out=out,
        limit=limit,
        model_dir=model_dir,
        dtype=dtype,
        device=device,
        options=Options(batch_size, length, gate),
        task_options=TaskOptions(data_dir, num_fewshot, seed, multiple_choice == "generate"),
        chat=apply_chat_template,
        system_instruction=system_instruction,
        fewshot_as_multiturn=fewshot_as_multiturn,
        confirm_unsafe=confirm_run_unsafe_code,
        allow_seen=allow_seen_documents,
        truncate=truncate_prompts,
    )
    with Bars() as bars:
        filled = fill(settings, bars)
    typer.echo(summary(filled))
    typer.echo(f"Kept in {out}. Tables: cosd-eval table scores --results {out}")
