"""Options that several commands share, and what they mean."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cosd_eval.errors import ConfigError

if TYPE_CHECKING:
    from cosd_eval.config import MethodSpec

Pairs = Annotated[
    list[str], typer.Option("--pair", help="A shipped pair's name, or a YAML file; may be repeated.", show_default=False)
]
ModelDir = Annotated[
    Path | None,
    typer.Option(help="Folder of models, named like a model's last path part in lower case.", envvar="COSD_MODEL_DIR"),
]
DataDir = Annotated[Path | None, typer.Option(help="Folder of benchmark files: no network.", envvar="COSD_DATA_DIR")]
Dtype = Annotated[str | None, typer.Option(help="float32, bfloat16 or float16, for all members.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, …, for all members.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Rows decoded at once.")]
Results = Annotated[Path, typer.Option("--results", help="The --out of a run.")]


def prepare_libraries() -> None:
    """Before lm-eval, datasets, transformers and torch are imported. What the user has set stays."""
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    # Threads that wait by spinning take the processor from whatever else runs here: on a busy two-core machine a small
    # model wrote 20 times fewer tokens a second. Threads that sleep at once wake late: a pass took a quarter longer on an
    # idle one. So they spin for half a millisecond and then sleep.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def split_names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def parse_methods(names: str | None, methods: list[str] | None) -> "tuple[MethodSpec, ...]":
    """--methods (plain names) and --method (a name with parameters, or a grid of them). Raises ConfigError, UnknownName."""
    from cosd_eval.config import parse_method

    given = [*split_names(names or ""), *(methods or [])]
    if not given:
        raise ConfigError("No method was given: add --methods draft,assistant,cosd-rule or --method cosd-rule:alpha=0.25.")
    return tuple(spec for text in given for spec in parse_method(text))


def parse_draft_length(text: str) -> int | Literal["auto", "full"]:
    if text == "auto":
        return "auto"
    if text == "full":
        return "full"
    if text.isdigit() and int(text) > 0:
        return int(text)
    raise ConfigError(f"--draft-length {text} is not a draft length: give auto, full or a number from 1.")


def existing_folder(path: Path | None, option: str) -> Path | None:
    if path is not None and not path.is_dir():
        raise ConfigError(f"There is no folder {path}: check {option}.")
    return path
