"""The floor: the forward passes of a run alone, with the same shapes and the caches in place, and nothing else."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter

import torch
from torch import Tensor

from cosd_eval.decoding.member import Member


@dataclass(frozen=True)
class Recorded:
    """One forward pass: what `Member.feed` was given, and how much each of its rows held."""

    member: Member
    held: list[int]
    counts: list[tuple[int, int]]
    ids: list[int]
    wanted: list[int]


@contextmanager
def recording(members: Sequence[Member]) -> Iterator[list[Recorded]]:
    """Note every forward pass that these members make inside the block."""
    passes: list[Recorded] = []

    def noting(member: Member) -> Callable[..., tuple[Tensor, Tensor]]:
        original = member.feed

        def feed(counts: Sequence[tuple[int, int]], ids: Sequence[int], wanted: Sequence[int]) -> tuple[Tensor, Tensor]:
            held = [member.rows.lengths[row] for row, _ in counts]
            passes.append(Recorded(member, held, list(counts), list(ids), list(wanted)))
            return original(counts, ids, wanted)

        return feed

    for member in members:
        member.feed = noting(member)  # type: ignore[method-assign]
    try:
        yield passes
    finally:
        for member in members:
            del member.feed


@torch.inference_mode()
def replay(passes: Sequence[Recorded]) -> float:
    """Seconds of these passes alone: only the calls of the models are timed."""
    total = 0.0
    for member in {id(p.member): p.member for p in passes}.values():
        own = [p for p in passes if p.member is member]
        ends = [held + new for p in own for held, (_, new) in zip(p.held, p.counts, strict=True)]
        member.open(1 + max(row for p in own for row, _ in p.counts), max(ends))
    for one in passes:
        for held, (row, _) in zip(one.held, one.counts, strict=True):
            one.member.rows.lengths[row] = held
        inputs = one.member.model_inputs(one.counts, one.ids, one.wanted)
        _wait(one.member)
        begin = perf_counter()
        one.member.model(**inputs)
        _wait(one.member)
        total += perf_counter() - begin
    return total


def _wait(member: Member) -> None:
    if member.device.type == "cuda":
        torch.cuda.synchronize(member.device)
