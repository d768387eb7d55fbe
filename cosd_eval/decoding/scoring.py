"""The log-likelihood of given text under any number of methods, from one teacher-forced pass per member."""

from collections.abc import Callable, Sequence
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
    """[request][method]. Sequences are read in an order that lets neighbours share prefixes. Raises PromptTooLong."""
    asked = sorted({m for method in methods for m in method.members})
    context = min(members[m].max_length for m in asked)
    units = _units(requests, context)
    for m in asked:
        members[m].open(min(options.batch_size, len(units)))
    results: list[list[Scored] | None] = [None] * len(requests)
    for batch in _batches(units, options.batch_size):
        begin = perf_counter()
        partial, own = _read(batch, [members[m] for m in asked], asked, methods, requests, options)
        seconds = (perf_counter() - begin) / sum(len(u.requests) for u in batch)
        for request in (r for u in batch for r in u.requests):
            done = [
                Scored(sum(p.per_token), p.greedy, p.per_token, p.author, own[request], seconds) for p in partial[request]
            ]
            results[request] = done
            if on_finish:
                on_finish(request, done)
    return [r for r in results if r is not None]


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


def _read(
    batch: Sequence[Unit],
    members: Sequence[Member],
    names: Sequence[int],
    methods: Sequence[Method],
    requests: Sequence[ScoreRequest],
    options: Options,
) -> tuple[dict[int, list[Partial]], dict[int, list[list[float]]]]:
    """Run one batch, WANTED positions of a long unit at a time, and let every method judge every position."""
    partial = {r: [Partial() for _ in methods] for u in batch for r in u.requests}
    own: dict[int, list[list[float]]] = {r: [] for u in batch for r in u.requests}
    for member in members:
        for row in range(len(batch)):
            member.rows.restart(row)
    begin = [0] * len(batch)
    while any(b < len(u.tokens) for b, u in zip(begin, batch, strict=True)):
        chunks, places, start = [], [], 0
        for row, unit in enumerate(batch):
            first_wanted = len(unit.tokens) - unit.want
            stop = min(len(unit.tokens), max(begin[row], first_wanted) + WANTED)
            if stop == begin[row]:
                continue
            want = stop - max(begin[row], first_wanted)
            chunks.append(Chunk(row, unit.tokens[begin[row] : stop], want))
            for r in unit.requests:
                # position i of the row predicts token i + 1, the request's continuation token i + 1 - len(context)
                offset = stop - want + 1 - len(requests[r].context)
                places += [(start + i, r, offset + i) for i in range(want) if 0 <= offset + i < len(requests[r].continuation)]
            start += want
            begin[row] = stop
        logits = {}
        hidden = {}
        for name, member in zip(names, members, strict=True):
            output = member.run(chunks, share=options.share_prefix)
            logits[name], hidden[name] = output.logits, output.hidden
        _judge(places, logits, hidden, methods, requests, partial, own)
    return partial, own


def _judge(
    places: Sequence[tuple[int, int, int]],
    logits: dict[int, Tensor],
    hidden: dict[int, Tensor],
    methods: Sequence[Method],
    requests: Sequence[ScoreRequest],
    partial: dict[int, list[Partial]],
    own: dict[int, list[list[float]]],
) -> None:
    """places: (logit row, request, position in its continuation)."""
    whole = any(m.needs_distribution for m in methods)
    device = next(iter(logits.values())).device
    for begin in range(0, len(places), 64):
        here = places[begin : begin + 64]
        rows = torch.tensor([p[0] for p in here], device=device)
        targets = torch.tensor([requests[r].continuation[i] for _, r, i in here], device=device)
        views: dict[int, View] = {
            m: look(logits[m][rows], hidden[m][rows], targets=targets, whole=whole, states=True) for m in logits
        }
        for at, view in enumerate(zip(*(_values(v) for v in views.values()), strict=True)):
            own[here[at][1]].append(list(view))
        for which, method in enumerate(methods):
            choice = method.choose({m: views[m] for m in method.members})
            chances = method.log_probability(views, choice).tolist()
            agrees = (choice.token == targets).tolist()
            for at, author in enumerate(choice.author.tolist()):
                part = partial[here[at][1]][which]
                part.per_token.append(chances[at])
                part.author.append(author)
                part.greedy &= agrees[at]


def _values(view: View) -> list[float]:
    assert view.target is not None
    values: list[float] = view.target.tolist()
    return values
