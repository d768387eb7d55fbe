"""`cosd-eval trace`: one text in the terminal, every token marked by who wrote it."""

from typing import TYPE_CHECKING, Annotated

import typer

from cosd_eval.commands import options
from cosd_eval.errors import ConfigError

if TYPE_CHECKING:
    from cosd_eval.evaluation.tasks import CellTask


def trace(
    pair: Annotated[str, typer.Option(help="A shipped pair's name, or a YAML file.", show_default=False)],
    method: Annotated[str, typer.Option(help="Like cosd-rule:alpha=0.25.")] = "cosd-rule",
    task: Annotated[str | None, typer.Option(help="Take the prompt from this task …", show_default=False)] = None,
    doc: Annotated[int, typer.Option(min=0, help="… and this document, counted from 0.")] = 0,
    prompt: Annotated[str | None, typer.Option(help="Or give a prompt.", show_default=False)] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="For --prompt.")] = 128,
    every_token: Annotated[
        bool, typer.Option("--every-token", help="List all tokens, not only those on which members differ.")
    ] = False,
    data_dir: options.DataDir = None,
    model_dir: options.ModelDir = None,
    dtype: options.Dtype = None,
    device: options.Device = None,
    num_fewshot: Annotated[
        int | None, typer.Option(min=0, help="Examples in the prompt, instead of the task's own number.")
    ] = None,
) -> None:
    """Decode one prompt, or one document of a task, and show who wrote each token and what was turned down."""
    if (task is None) == (prompt is None):
        raise ConfigError("Give either --task (with --doc) or --prompt.")
    options.existing_folder(data_dir, "--data-dir or COSD_DATA_DIR")
    options.existing_folder(model_dir, "--model-dir or COSD_MODEL_DIR")
    options.prepare_libraries()
    from dataclasses import asdict

    from rich.console import Console
    from rich.text import Text

    from cosd_eval.analysis.trace import render_trace, visible
    from cosd_eval.decoding.loop import Request
    from cosd_eval.decoding.pair import Pair, parse_one
    from cosd_eval.evaluation.adapter import Encoder, generation_settings
    from cosd_eval.evaluation.runner import quiet
    from cosd_eval.evaluation.tasks import TaskOptions, load

    spec = parse_one(method)
    target = None
    stop: list[str] = []
    with quiet():
        found = load([task], TaskOptions(data_dir, num_fewshot)) if task else []
    if found:
        instance = _request(found, doc)
        prompt, target = instance.args[0], str(next(iter(found[0].tasks.values())).doc_to_target(instance.doc))
        max_new_tokens, stop = generation_settings(instance)
    loaded = Pair.load(pair, model_dir=model_dir, dtype=dtype, device=device)
    ids = Encoder(loaded.tokenizer_for(spec), loaded.max_length).prompt(str(prompt), max_new_tokens)
    (decoded,) = loaded.generate([Request(tuple(ids), max_new_tokens, tuple(stop))], spec)
    console = Console()
    console.print(Text(visible(str(prompt)), style="dim"), highlight=False)
    console.print(render_trace(asdict(decoded), loaded.names, every_token))
    if target is not None:
        console.print(Text(f"\nexpected: {visible(target)}"))


def _request(found: "list[CellTask]", doc: int):  # type: ignore[no-untyped-def]  # an lm-eval Instance
    from cosd_eval.evaluation.runner import quiet

    tasks = [task for cell in found for task in cell.tasks.values()]
    if len(tasks) != 1 or tasks[0].OUTPUT_TYPE != "generate_until":
        raise ConfigError("A trace needs one task whose answers are generated, like tinyGSM8k: choose another --task.")
    size = len(tasks[0].eval_docs)
    if doc >= size:
        raise ConfigError(f"Task {found[0].label} has {size} documents: give --doc from 0 to {size - 1}.")
    found[0].reseed(1234)
    with quiet():
        tasks[0].build_all_requests(limit=doc + 1)  # examples are drawn document after document, so all before it too
    return tasks[0].instances[doc]
