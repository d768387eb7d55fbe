"""`cosd-eval train` and `cosd-eval explain`: what CoSD-Tree and Co-LLM learn."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from cosd_eval.commands import options
from cosd_eval.errors import ConfigError

app = typer.Typer(no_args_is_help=True, help="Train CoSD-Tree's tree or Co-LLM's layer for a pair.")

OnePair = Annotated[str, typer.Option("--pair", help="A shipped pair's name, or a YAML file.", show_default=False)]
Data = Annotated[
    str,
    typer.Option(help="TASK or TASK:SPLIT, alpaca_eval, builtin, or a JSONL file of instruction and output.", show_default=False),
]
Seed = Annotated[int, typer.Option(help="Draws the samples, and breaks the trainer's ties.")]


def _load(pair: str, model_dir: Path | None, dtype: str | None, device: str | None, data_dir: Path | None) -> Any:
    options.existing_folder(data_dir, "--data-dir or COSD_DATA_DIR")
    options.prepare_libraries()
    from cosd_eval.decoding.pair import Pair

    return Pair.load(pair, model_dir=model_dir, dtype=dtype, device=device)


@app.command("tree")
def train_tree(
    pair: OnePair,
    data: Data = "alpaca_eval",
    out: Annotated[Path, typer.Option(help="The JSON file to write.")] = Path("trees/tree.json"),
    samples: Annotated[int | None, typer.Option(min=1, help="Random samples of the data; all if not given.")] = 3,
    seed: Seed = 0,
    hyperparameter: Annotated[
        list[str] | None,
        typer.Option(help="Of scikit-learn's DecisionTreeClassifier: max_depth=3; may be repeated.", show_default=False),
    ] = None,
    data_dir: options.DataDir = None,
    model_dir: options.ModelDir = None,
    dtype: options.Dtype = None,
    device: options.Device = None,
    batch_size: options.BatchSize = 8,
) -> None:
    """Train CoSD-Tree's decision tree on the members' confidence over reference outputs."""
    given = dict(_setting(word) for word in hyperparameter or [])
    members = _load(pair, model_dir, dtype, device, data_dir)

    from cosd_eval.decoding.loop import Options
    from cosd_eval.evaluation.learn import Training, train_tree
    from cosd_eval.evaluation.runner import quiet
    from cosd_eval.training.tree import HYPERPARAMETERS

    with quiet():
        told = train_tree(
            members, Training(data, samples, seed, data_dir, Options(batch_size)), out, {**HYPERPARAMETERS, **given}
        )
    typer.echo(_describe(told))
    typer.echo(f"Kept in {out}. Use it: --method cosd-tree:tree={out}")


@app.command("co-llm")
def train_deferral(
    pair: OnePair,
    data: Data,
    out: Annotated[Path, typer.Option(help="The folder to write.")] = Path("deferral"),
    samples: Annotated[int | None, typer.Option(min=2, help="Random samples of the data; all if not given.")] = 200,
    seed: Seed = 0,
    data_dir: options.DataDir = None,
    model_dir: options.ModelDir = None,
    dtype: options.Dtype = None,
    device: options.Device = None,
    batch_size: options.BatchSize = 8,
) -> None:
    """Train Co-LLM's linear layer: where the draft should defer to the assistant."""
    members = _load(pair, model_dir, dtype, device, data_dir)

    from cosd_eval.decoding.loop import Options
    from cosd_eval.evaluation.learn import Training, train_deferral
    from cosd_eval.evaluation.runner import quiet

    with quiet():
        told = train_deferral(members, Training(data, samples, seed, data_dir, Options(batch_size)), out)
    typer.echo(_describe(told))
    typer.echo(f"Kept in {out}. Use it: --method co-llm:deferral={out}")


def explain(
    path: Annotated[Path, typer.Argument(help="A tree's JSON file, or a Co-LLM folder.")],
    picture: Annotated[
        Path | None,
        typer.Option(help="Where to draw it over the (p_draft, p_assistant) square (.png, .svg, .pdf); beside it if not given."),
    ] = None,
) -> None:
    """Say in words what was learned, from what; draw a tree of two members."""
    from cosd_eval.evaluation.learn import read

    told = read(path)
    typer.echo(_describe(told))
    if told["kind"] == "cosd-tree" and told["members"] == 2:
        from cosd_eval.decoding.learned import read_tree
        from cosd_eval.training.tree import picture as draw

        target = picture or path.with_suffix(".png")
        try:
            draw(read_tree(path, 2), told["names"], target)
        except (OSError, ValueError) as e:
            raise ConfigError(f"{target} cannot be drawn ({e}): give another --picture ending in .png, .svg or .pdf.") from None
        typer.echo(f"Drawn in {target}.")


def _describe(told: dict[str, Any]) -> str:
    source = told["source"]
    learned = f"{source['samples']} samples of {source['name']}, seed {told['seed']}"
    lines = [f"{told['kind']} for {' + '.join(told['names'])}, from {learned}"]
    if told["kind"] == "cosd-tree":
        lines += [", ".join(f"{name.replace('_', ' ')}: {n}" for name, n in told["counts"].items()), *told["text"]]
        return "\n".join(lines)
    lines += [f"{name.replace('_', ' ')}: {value:.4g}" for name, value in told["training"].items()]
    return "\n".join([*lines, f"eta: {told['eta']:.6g} (the assistant writes where the layer says more)"])


def _setting(word: str) -> tuple[str, Any]:
    """`name=value`, the value as JSON where it is (numbers, null), else as text."""
    name, equals, value = word.partition("=")
    if not equals:
        raise ConfigError(f"--hyperparameter {word} should be name=value: for example max_depth=3.")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value
