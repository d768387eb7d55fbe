"""The floor: the forward passes of a run alone, with the same shapes and the caches in place, and nothing else."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter

import torch

from cosd_eval.decoding import cache
from cosd_eval.decoding.member import Chunk, Member, Piece, model_inputs, padded


@dataclass(frozen=True)
class Recorded:
    """One forward pass: for each row its number, how much it held, its new tokens; and which packed positions were read."""

    member: Member
    rows: list[tuple[int, int, int]]
    ids: list[int]
    wanted: list[int]


@contextmanager
def recording(members: Sequence[Member]) -> Iterator[list[Recorded]]:
    """Note every forward pass that these members make inside the block."""
    passes: list[Recorded] = []
    originals = [m._forward for m in members]

    def noting(member: Member, original):  # type: ignore[no-untyped-def]
        def forward(chunks: Sequence[Chunk], pieces: Sequence[Piece]):  # type: ignore[no-untyped-def]
            rows: list[tuple[int, int, int]] = []
            ids: list[int] = []
            wanted: list[int] = []
            for p in pieces:
                chunk = chunks[p.chunk]
                rows.append((chunk.row, member.rows.lengths[chunk.row], p.stop - p.start))
                first = max(p.start, len(chunk.tokens) - chunk.want)
                wanted += range(len(ids) + first - p.start, len(ids) + p.stop - p.start)
                ids += chunk.tokens[p.start : p.stop]
            passes.append(Recorded(member, rows, ids, wanted))
            return original(chunks, pieces)

        return forward

    for member, original in zip(members, originals, strict=True):
        member._forward = noting(member, original)  # type: ignore[method-assign]
    try:
        yield passes
    finally:
        for member in members:
            del member._forward


@torch.inference_mode()
def replay(passes: Sequence[Recorded]) -> float:
    """Seconds of these passes alone: only the calls of the models are timed."""
    total = 0.0
    for member in {id(p.member): p.member for p in passes}.values():
        member.open(1 + max(row for p in passes if p.member is member for row, _, _ in p.rows))
        member.rows.reserve(max(held + new for p in passes if p.member is member for _, held, new in p.rows))
    for one in passes:
        for row, held, _ in one.rows:
            one.member.rows.lengths[row] = held
        plan = cache.Pass(one.member.rows, [(row, new) for row, _, new in one.rows], one.member.device, padded(len(one.ids)))
        inputs = model_inputs(plan, one.ids, one.wanted, one.member.device)
        _wait(one.member)
        begin = perf_counter()
        one.member.model(**inputs)
        _wait(one.member)
        total += perf_counter() - begin
    return total


def _wait(member: Member) -> None:
    if member.device.type == "cuda":
        torch.cuda.synchronize(member.device)
