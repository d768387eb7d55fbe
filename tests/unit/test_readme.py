"""What the README tells people to type is understood: every option exists, every make target is there, the Python runs."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main

from cosd_eval.cli import app
from cosd_eval.config import parse_method

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, flags=re.DOTALL)
LINES = [line.split("  #")[0].strip() for language, block in BLOCKS if language != "python" for line in block.splitlines()]
COMMANDS = [line for line in LINES if line.startswith("cosd-eval ")]


def parse(command: Any, arguments: list[str]) -> None:
    """What the command line does, short of running the command. Raises what it would raise."""
    context = command.make_context(command.name, arguments, resilient_parsing=False)
    if hasattr(command, "resolve_command") and (rest := [*context._protected_args, *context.args]):
        _, inner, rest = command.resolve_command(context, rest)
        parse(inner, rest)


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_are_understood(line: str) -> None:
    parse(typer.main.get_command(app), shlex.split(line)[1:])


def test_there_are_commands() -> None:
    assert len(COMMANDS) >= 5


def test_methods_named_in_text_exist() -> None:
    for text in re.findall(r"--method \"?(cosd-rule:[^\s`\"]+)", README):
        assert parse_method(text)


@pytest.mark.parametrize("target", [line.split()[1] for line in LINES if line.startswith("make ")])
def test_make_targets_exist(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)


def test_the_python_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = (block for language, block in BLOCKS if language == "python")
    exec(code.replace("qwen-coder", "capacity"), {})
    assert capsys.readouterr().out.strip()
