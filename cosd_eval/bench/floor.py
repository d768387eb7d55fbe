"""The floor: the time of a run's forward passes alone, which no schedule that makes these passes can beat.

It is taken inside the run itself, around each call of a model, and not in a second run: on a machine shared with others two
runs differ by more than what is to be shown.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from cosd_eval.decoding.member import Member


@dataclass
class Recorded:
    """One forward pass: its packed rows (row, new tokens), how much each of them held before, the tokens fed and the positions
    read. begin, end: when the model was called and when it answered, in seconds (on a GPU: when it was done)."""

    member: Member
    held: list[int]
    counts: list[tuple[int, int]]
    ids: list[int]
    wanted: list[int]
    begin: float | torch.cuda.Event = 0.0
    end: float | torch.cuda.Event = 0.0

    @property
    def seconds(self) -> float:
        if isinstance(self.begin, float) and isinstance(self.end, float):
            return self.end - self.begin
        assert isinstance(self.begin, torch.cuda.Event) and isinstance(self.end, torch.cuda.Event)
        return float(self.begin.elapsed_time(self.end)) / 1000


@contextmanager
def recording(members: Sequence[Member]) -> Iterator[list[Recorded]]:
    """Note and time every forward pass that these members make inside the block."""
    passes: list[Recorded] = []
    hooks: list[Any] = []
    for member in members:
        member.feed = _noting(member, passes)  # type: ignore[method-assign]
        hooks.append(member.model.register_forward_pre_hook(lambda *_: setattr(passes[-1], "begin", _now(passes[-1]))))
        hooks.append(member.model.register_forward_hook(lambda *_: setattr(passes[-1], "end", _now(passes[-1]))))
    try:
        yield passes
    finally:
        for hook in hooks:
            hook.remove()
        for member in members:
            del member.feed


def _noting(member: Member, passes: list[Recorded]) -> Callable[..., tuple[Tensor, Tensor]]:
    original = member.feed

    def feed(counts: Sequence[tuple[int, int]], ids: Sequence[int], wanted: Sequence[int]) -> tuple[Tensor, Tensor]:
        held = [member.rows.lengths[row] for row, _ in counts]
        passes.append(Recorded(member, held, list(counts), list(ids), list(wanted)))
        return original(counts, ids, wanted)

    return feed


def _now(one: Recorded) -> float | torch.cuda.Event:
    if one.member.device.type != "cuda":
        return perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record(torch.cuda.current_stream(one.member.device))
    return event


def seconds(passes: Sequence[Recorded]) -> float:
    """Of all these passes together."""
    for device in {p.member.device for p in passes if p.member.device.type == "cuda"}:
        torch.cuda.synchronize(device)
    return sum(p.seconds for p in passes)
