"""`cosd-eval`: the command line. Thin; what a user got wrong is told in one sentence on stderr, exit code 2."""

import sys
from typing import Any

import typer
from typer.core import TyperGroup

from cosd_eval.commands.bench import bench
from cosd_eval.commands.check import app as check_app
from cosd_eval.commands.results import export, report, table
from cosd_eval.commands.run import run
from cosd_eval.commands.show import app as list_app
from cosd_eval.commands.trace import trace
from cosd_eval.commands.train import app as train_app
from cosd_eval.commands.train import explain
from cosd_eval.errors import UserError


class Commands(TyperGroup):
    """Turns errors meant for users, and Ctrl-C, into messages and exit codes."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except UserError as e:
            typer.echo(f"cosd-eval: {e}", err=True)
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            again = (
                " Samples that were finished are kept: the same command goes on from there."
                if ctx.invoked_subcommand == "run"
                else ""
            )
            typer.echo(f"\ncosd-eval: stopped.{again}", err=True)
            raise typer.Exit(130) from None
        except BrokenPipeError:  # `cosd-eval table … | head`
            sys.stderr.close()
            raise typer.Exit(1) from None


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Evaluate language models that decode together: CoSD and its baselines, on lm-eval's tasks.",
)
app.command()(run)
app.command()(table)
app.add_typer(list_app, name="list")
app.add_typer(check_app, name="check")
app.add_typer(train_app, name="train")
app.command()(explain)
app.command()(report)
app.command()(trace)
app.command()(export)
app.command()(bench)


def main() -> None:
    app()
