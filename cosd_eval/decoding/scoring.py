"""Given text under the members: one teacher-forced pass each, which serves any number of methods, and training too."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter

import torch
from torch import Tensor

from cosd_eval.decoding.loop import Options
from cosd_eval.decoding.member import Chunk, Member
from cosd_eval.decoding.methods import Method, View, look
from cosd_eval.errors import PromptTooLong
from cosd_eval.records import Scored

WANTED = 256  # positions whose logits are held at once
JUDGED = 64  # positions that are looked at together


@dataclass(frozen=True)
class ScoreRequest:
    """A continuation and its context, as ids in the shared vocabulary; neither is empty."""

    context: tuple[int, ...]
    continuation: tuple[int, ...]


@dataclass
class Unit:
    """One distinct sequence to read, with the requests that it answers: those whose context and all but the last token of
    the continuation are `tokens`. (The four letters of a multiple-choice question are one unit.)"""

    tokens: tuple[int, ...]
    requests: list[int] = field(default_factory=list)
    want: int = 1


@dataclass(frozen=True)
class Positions:
    """Up to JUDGED positions of given texts: places[i] is (request, position in its continuation); targets [n] the given
    tokens there; views what each member says (with `target`, and `distribution` and `hidden` where asked for)."""

    places: list[tuple[int, int]]
    targets: Tensor
    views: dict[int, View]


def read(
    members: Sequence[Member], asked: Sequence[int], requests: Sequence[ScoreRequest], options: Options, *, whole: bool = False
) -> Iterator[tuple[list[Positions], list[int], float]]:
    """Read all requests with the members `asked` (indices), in batches of neighbours that share prefixes.

    Yields per batch its positions, the requests it completes, and its wall time in seconds. Raises PromptTooLong.
    """
    context = min(members[m].max_length for m in asked)
    units = _units(requests, context)
    for m in asked:
        members[m].open(min(options.batch_size, len(units)), max(len(u.tokens) for u in units))
    for batch in _batches(units, options.batch_size):
        begin = perf_counter()
        for m in asked:
            for row in range(len(batch)):
                members[m].rows.restart(row)
        positions = [p for part in _parts(batch, requests) for p in _look(members, asked, part, requests, options, whole)]
        yield positions, [r for unit in batch for r in unit.requests], perf_counter() - begin


def _units(requests: Sequence[ScoreRequest], context: int) -> list[Unit]:
    found: dict[tuple[int, ...], Unit] = {}
    for index, request in enumerate(requests):
        tokens = request.context + request.continuation[:-1]
        if not request.context or not request.continuation or len(tokens) > context:
            raise PromptTooLong(
                f"Request {index} has {len(request.context)} + {len(request.continuation)} tokens, where the members' context "
                f"holds {context}: shorten it, use fewer few-shot examples, or choose members with a longer context."
            )
        unit = found.setdefault(tokens, Unit(tokens))
        unit.requests.append(index)
        unit.want = max(unit.want, len(request.continuation))
    return sorted(found.values(), key=lambda u: u.tokens)


def _batches(units: Sequence[Unit], size: int) -> list[list[Unit]]:
    """Neighbours together, at most `size`, and at most WANTED positions to read (unless one unit alone has more)."""
    batches: list[list[Unit]] = []
    wanted = 0
    for unit in units:
        if not batches or len(batches[-1]) == size or wanted + unit.want > WANTED:
            batches.append([])
            wanted = 0
        batches[-1].append(unit)
        wanted += unit.want
    return batches


@dataclass(frozen=True)
class Part:
    """What one pass reads: chunks, and for each logit that counts (its index, the request, the position there)."""

    chunks: list[Chunk]
    places: list[tuple[int, int, int]]


def _parts(batch: Sequence[Unit], requests: Sequence[ScoreRequest]) -> Iterator[Part]:
    """A batch in passes that read at most WANTED positions of each row."""
    begin = [0] * len(batch)
    while any(b < len(u.tokens) for b, u in zip(begin, batch, strict=True)):
        part, start = Part([], []), 0
        for row, unit in enumerate(batch):
            wanted_from = max(begin[row], len(unit.tokens) - unit.want)
            stop = min(len(unit.tokens), wanted_from + WANTED)
            if stop == begin[row]:
                continue
            want = stop - wanted_from
            part.chunks.append(Chunk(row, unit.tokens[begin[row] : stop], want))
            for r in unit.requests:
                # after token i of the row comes token i + 1, which is number i + 1 - len(context) of the continuation
                first = wanted_from + 1 - len(requests[r].context)
                length = len(requests[r].continuation)
                part.places.extend((start + i, r, first + i) for i in range(want) if 0 <= first + i < length)
            start += want
            begin[row] = stop
        yield part


def _look(
    members: Sequence[Member],
    asked: Sequence[int],
    part: Part,
    requests: Sequence[ScoreRequest],
    options: Options,
    whole: bool,
) -> Iterator[Positions]:
    outputs = {m: members[m].run(part.chunks, share=options.share_prefix) for m in asked}
    device = next(iter(outputs.values())).logits.device
    for begin in range(0, len(part.places), JUDGED):
        here = part.places[begin : begin + JUDGED]
        rows = torch.tensor([p[0] for p in here], device=device)
        targets = torch.tensor([requests[r].continuation[i] for _, r, i in here], device=device)
        yield Positions(
            [(r, i) for _, r, i in here],
            targets,
            {
                m: look(o.logits[rows], o.hidden[rows], who=members[m].name, targets=targets, whole=whole, states=True)
                for m, o in outputs.items()
            },
        )


@dataclass
class Partial:
    """What is known so far of one request under one method."""

    per_token: list[float] = field(default_factory=list)
    author: list[int] = field(default_factory=list)
    greedy: bool = True


def score(
    members: Sequence[Member],
    methods: Sequence[Method],
    requests: Sequence[ScoreRequest],
    options: Options,
    on_finish: Callable[[int, list[Scored]], None] | None = None,
) -> list[list[Scored]]:
    """[request][method]: the continuation's log-likelihood under the distribution that each method induces."""
    asked = sorted({m for method in methods for m in method.members})
    whole = any(m.needs_distribution for m in methods)
    results: list[list[Scored] | None] = [None] * len(requests)
    for positions, completed, seconds in read(members, asked, requests, options, whole=whole):
        partial = {r: [Partial() for _ in methods] for r in completed}
        own: dict[int, list[list[float]]] = {r: [] for r in completed}
        for some in positions:
            _judge(some, methods, partial, own)
        for r in completed:
            done = [
                Scored(sum(p.per_token), p.greedy, p.per_token, p.author, own[r], seconds / len(completed)) for p in partial[r]
            ]
            results[r] = done
            if on_finish:
                on_finish(r, done)
    return [r for r in results if r is not None]


def _judge(
    positions: Positions, methods: Sequence[Method], partial: dict[int, list[Partial]], own: dict[int, list[list[float]]]
) -> None:
    targets = zip(*(v.target.tolist() for v in positions.views.values() if v.target is not None), strict=True)
    for (request, _), values in zip(positions.places, targets, strict=True):
        own[request].append(list(values))
    for which, method in enumerate(methods):
        choice = method.choose({m: positions.views[m] for m in method.members})
        chances = method.log_probability(positions.views, choice).tolist()
        agrees = (choice.token == positions.targets).tolist()
        for (request, _), chance, agree, author in zip(positions.places, chances, agrees, choice.author.tolist(), strict=True):
            part = partial[request][which]
            part.per_token.append(chance)
            part.author.append(author)
            part.greedy &= agree
