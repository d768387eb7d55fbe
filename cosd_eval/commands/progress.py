"""What a run shows while it works, and its summary."""

import shutil
from collections.abc import Sequence
from io import StringIO
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from cosd_eval.evaluation.runner import Filled
from cosd_eval.evaluation.store import Description
from cosd_eval.records import Sample, Score


class Bars:
    """A bar for the cell at work, a line for each that is done; on stderr, and lines alone where that is no terminal."""

    def __init__(self) -> None:
        self.console = Console(stderr=True)
        self.bars = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(), console=self.console, transient=True,
        )  # fmt: skip
        self.at: TaskID | None = None
        self.tokens = 0

    def __enter__(self) -> "Bars":
        if self.console.is_terminal:
            self.bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.console.is_terminal:
            self.bars.stop()

    def loading(self, pair: str) -> None:
        self.console.print(f"{pair}: loading its members", highlight=False)

    def start(self, about: Description, documents: int) -> None:
        self.tokens = 0
        self.at = self.bars.add_task(f"{about.pair} · {about.task} · {about.method}", total=documents, speed="")

    def sample(self, sample: Sample, new: bool) -> None:
        assert self.at is not None
        if new:
            self.tokens += sum(len(o.get("token_ids") or o.get("per_token") or ()) for o in sample.outputs)
        elapsed = self.bars.tasks[self.bars.task_ids.index(self.at)].elapsed
        self.bars.update(self.at, advance=1, speed=f"{self.tokens / elapsed:.1f} tokens/s" if elapsed and self.tokens else "")

    def finish(self, about: Description, scores: Sequence[Score], run: dict[str, Any]) -> None:
        assert self.at is not None
        self.bars.remove_task(self.at)
        shown = shown_score(Filled(about, tuple(scores), run))
        self.console.print(f"{about.pair} · {about.task} · {about.method}: {shown}", highlight=False, soft_wrap=True)


def shown_score(cell: Filled) -> str:
    wanted = (cell.about.primary["metric"], cell.about.primary["filter"])
    own = [s for s in cell.scores if s.subtask is None]
    score = next((s for s in own if (s.metric, s.filter) == wanted), own[0] if own else None)
    if score is None:
        return "no score"
    return f"{score.metric} {score.value:.4f}" + (f" ± {score.stderr:.4f}" if score.stderr is not None else "") + f", n {score.n}"


def summary(filled: Sequence[Filled]) -> str:
    """A line a cell: its score, and what it took. Rates are over all sessions that filled the cell."""
    table = Table(title="Run summary", title_justify="left")
    for name in ("pair", "task", "method"):
        table.add_column(name, overflow="fold")
    for name in ("score", "tokens/s", "rounds", "asked", "time"):
        table.add_column(name, justify="right")
    for cell in filled:
        run = cell.run
        rate, asked, together = run.get("tokens_per_second"), run.get("asked_share"), run.get("shared_pass", 1)
        table.add_row(
            cell.about.pair, cell.about.task, cell.about.method, shown_score(cell), f"{rate:.1f}" if rate else "–",
            str(run.get("rounds", 0)) if run.get("generated") else "–", f"{asked:.0%}" if asked is not None else "–",
            _time(run.get("seconds", 0.0)) + (f" for {together}" if together > 1 and run.get("seconds") else ""),
        )  # fmt: skip
    text = StringIO()
    Console(file=text, width=max(shutil.get_terminal_size((130, 24)).columns, 130)).print(table)
    return (
        text.getvalue().rstrip()
        + "\nasked: share of output tokens at which an assistant was asked; time: of the documents computed, all sessions."
    )


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}" if seconds >= 60 else f"{seconds:.1f} s"
