"""The one decoding loop: draft -> gate -> verify -> commit -> rewind, many rows at once, for every method.

What a row writes depends on its prefix alone; draft length, batch and scheduling change only how fast.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Literal

import torch

from cosd_eval.decoding.member import Chunk, Member
from cosd_eval.decoding.methods import Choice, Method, View, look
from cosd_eval.decoding.scheduling import Acceptance, PassCost, Round, Waiting
from cosd_eval.decoding.text import Ending, final_text
from cosd_eval.errors import PromptTooLong
from cosd_eval.records import Counters, Decoded, Finish, Provenance

USUAL = 256  # new tokens that rows have room for from the start

DraftLength = int | Literal["auto", "full"]


@dataclass(frozen=True)
class Request:
    """A prompt (text, or ids in the shared vocabulary), how many tokens may follow, and the strings that end it."""

    prompt: str | tuple[int, ...]
    max_new_tokens: int = 256
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Options:
    """How to schedule the work; none of it changes what is written (exactly so in float32).

    batch_size: rows at once. draft_length: uncertain or not, after so many unverified tokens a row asks ("full": only at
    its end; "auto": when it pays). gate: False asks at every token. share_prefix: compute a common prefix once.
    """

    batch_size: int = 8
    draft_length: DraftLength = "auto"
    gate: bool = True
    share_prefix: bool = True


@dataclass
class Row:
    """One sequence in the batch. tokens: prompt and committed output; pending: drafted, not yet decided on. The first of
    them is always uncertain, since certain ones are committed at once."""

    slot: int
    index: int
    request: Request
    tokens: list[int]
    ending: Ending
    begin: float
    limit: int
    output: list[int] = field(default_factory=list)
    pending: list[int] = field(default_factory=list)
    views: list[View] = field(default_factory=list)  # the draft's, one a pending token
    chances: list[float] = field(default_factory=list)  # probability of each pending token
    certain: list[bool] = field(default_factory=list)
    known: dict[int, View] = field(default_factory=dict)  # assistants' views of the next prefix, left from the last verify pass
    draft_done: bool = False
    finish: Finish | None = None
    record: Provenance = field(default_factory=Provenance)
    counters: Counters = field(default_factory=Counters)

    def clear_pending(self) -> None:
        self.pending, self.views, self.chances, self.certain, self.draft_done = [], [], [], [], False


class Loop:
    """Decodes requests with one method. `encode` turns a text prompt into ids of the shared vocabulary."""

    def __init__(
        self,
        members: Sequence[Member],
        method: Method,
        options: Options,
        encode: Callable[[str], list[int]],
        on_finish: Callable[[int, Decoded], None] | None = None,
    ) -> None:
        self.members, self.method, self.options = members, method, options
        self.encode, self.on_finish = encode, on_finish
        self.draft = members[method.drafter]
        self.tokenizer = self.draft.tokenizer
        self.end = frozenset().union(*(members[m].end_tokens for m in method.members))
        self.context = min(members[m].max_length for m in method.members)
        costs = [PassCost.of(members[m].parameters, members[m].device.type) for m in range(len(members))]
        self.costs = costs[method.drafter], [costs[a] for a in method.asks]
        self.acceptance = Acceptance()
        self.pieces: dict[int, str] = {}

    def run(self, requests: Sequence[Request]) -> list[Decoded]:
        """All requests, in their order. Raises PromptTooLong before any work is done."""
        queue = deque(self._prepared(requests))
        done: list[Decoded | None] = [None] * len(requests)
        slots = min(self.options.batch_size, len(requests))
        room = max((len(ids) + min(request.max_new_tokens, USUAL) for _, request, ids in queue), default=0)
        for m in self.method.members:
            self.members[m].open(slots, min(room, self.context))
        rows: list[Row] = []
        free = list(range(slots))
        turn = Round(*self.costs)
        while queue or rows:
            while queue and free:
                rows.append(self._start(*queue.popleft(), slot=free.pop(0)))
            drafting = self._who_drafts(rows, turn)
            waiting = [r for r in rows if r.pending]
            if drafting:
                turn.drafted(len(drafting))
                turn.committed += self._draft_step(drafting)
            elif waiting:
                self._verify(waiting)
                turn = Round(*self.costs)
            for row in [r for r in rows if r.finish]:
                rows.remove(row)
                free.append(row.slot)
                done[row.index] = self._finished(row)
            free.sort()
        return [d for d in done if d is not None]

    def _prepared(self, requests: Sequence[Request]) -> list[tuple[int, Request, list[int]]]:
        prepared = []
        for index, request in enumerate(requests):
            ids = self.encode(request.prompt) if isinstance(request.prompt, str) else list(request.prompt)
            if not ids or len(ids) >= self.context:
                raise PromptTooLong(
                    f"Prompt {index} has {len(ids)} tokens, where 1 to {self.context - 1} fit the members' context: "
                    "shorten it, use fewer few-shot examples, or choose members with a longer context."
                )
            prepared.append((index, request, ids))
        return prepared

    def _start(self, index: int, request: Request, ids: list[int], slot: int) -> Row:
        for m in self.method.members:
            self.members[m].rows.restart(slot)
        limit = min(request.max_new_tokens, self.context - len(ids))
        row = Row(slot, index, request, ids, Ending(self.tokenizer, request.stop), perf_counter(), limit)
        row.counters.prompt_tokens = len(ids)
        if limit == 0:
            row.finish = "length"
        return row

    def _finished(self, row: Row) -> Decoded:
        rest = row.ending.text.rest()
        if rest:
            row.record.text[-1] += rest
        assert row.finish is not None
        text = final_text(self.tokenizer, row.output, row.request.stop, self.end)
        result = Decoded(text, row.output, row.finish, row.record, row.counters)
        if self.on_finish:
            self.on_finish(row.index, result)
        return result

    # -- who works next

    def _who_drafts(self, rows: Sequence[Row], turn: Round) -> list[Row]:
        """The rows that draft a token now; none: those that wait are verified."""
        able = [r for r in rows if not r.finish and not r.draft_done]
        if self.options.draft_length == "full":
            return able
        if self.options.draft_length != "auto":
            able = [r for r in able if len(r.pending) < self.options.draft_length]
            return able if 2 * len(able) > len(rows) else []
        free = [r for r in able if not r.pending]
        blocked = [r for r in rows if r.pending]
        if not blocked:
            return free
        join = turn.worth_drafting([self._outlook(r) for r in blocked], len(free))
        if join is None:
            return []
        return free + [r for r, j in zip(blocked, join, strict=True) if j and not r.draft_done]

    def _outlook(self, row: Row) -> Waiting:
        expected, survival = 0.0, 1.0
        for chance, certain in zip(row.chances, row.certain, strict=True):
            expected += survival
            survival *= 1.0 if certain else self.acceptance(chance)
        behind = len(row.tokens) + len(row.pending) - min(self.members[a].rows.lengths[row.slot] for a in self.method.asks)
        return Waiting(min(behind, 64), expected + survival, 0.0 if row.draft_done else survival)

    # -- drafting

    def _draft_step(self, rows: Sequence[Row]) -> int:
        """Each row drafts one token; returns how many tokens were committed."""
        held = self.draft.rows.lengths
        chunks = [Chunk(r.slot, (r.tokens + r.pending)[held[r.slot] :]) for r in rows]
        prefill = [held[r.slot] == 0 for r in rows]
        output = self.draft.run(chunks, share=self.options.share_prefix)
        view = look(
            output.logits,
            output.hidden,
            who=self.draft.name,
            whole=self.method.needs_distribution,
            states=self.method.needs_hidden,
        )
        certain = self.method.certain(view).tolist() if self.options.gate or not self.method.asks else [False] * len(rows)
        committed = 0
        total = sum(len(c.tokens) for c in chunks)
        for i, (row, token, chance) in enumerate(zip(rows, view.top.tolist(), view.probability.tolist(), strict=True)):
            seconds = output.seconds * len(chunks[i].tokens) / total
            if prefill[i]:
                row.counters.seconds_prefill += seconds
            else:
                row.counters.seconds_draft += seconds
            row.counters.draft_tokens += 1
            before = len(row.output)
            self._receive(row, token, chance, view[i : i + 1], certain[i])
            committed += len(row.output) - before
        return committed

    def _receive(self, row: Row, token: int, chance: float, view: View, certain: bool) -> None:
        """Take a drafted token: commit it if nothing before it is open and it is certain, or what decides it is known."""
        row.pending.append(token)
        row.views.append(view)
        row.chances.append(chance)
        row.certain.append(certain)
        if len(row.pending) == 1 and (certain or row.known):
            known, row.known = row.known, {}
            views = {self.method.drafter: view, **({} if certain else known)}
            choice = Choice(view.top, torch.full_like(view.top, self.method.drafter)) if certain else self.method.choose(views)
            self._decide(row, choice, views)
            return
        row.draft_done = (
            token in self.end or len(row.output) + len(row.pending) >= row.limit or row.ending.would_stop(row.pending)
        )

    # -- verifying

    def _verify(self, rows: Sequence[Row]) -> None:
        """Ask the assistants about all pending tokens of these rows, and commit what stands."""
        views: list[dict[int, View]] = [{self.method.drafter: View.join(r.views)} for r in rows]
        following: list[dict[int, View]] = [{} for _ in rows]
        for a in self.method.asks:
            for i, (now, then) in enumerate(self._ask(a, rows)):
                views[i][a], following[i][a] = now, then
        for row, seen, after in zip(rows, views, following, strict=True):
            row.counters.rounds += 1
            row.known = after
            self._decide(row, self.method.choose(seen), seen)
            if self.method.ignores_draft and row.known and not row.finish:
                self._commit_known(row)

    def _ask(self, assistant: int, rows: Sequence[Row]) -> list[tuple[View, View]]:
        """For each row an assistant's views of its pending tokens, and of the prefix after them."""
        member = self.members[assistant]
        held = member.rows.lengths
        chunks = [Chunk(r.slot, (r.tokens + r.pending)[held[r.slot] :], len(r.pending) + 1) for r in rows]
        prefill = [held[r.slot] == 0 for r in rows]
        output = member.run(chunks, share=self.options.share_prefix)
        view = look(output.logits, output.hidden, who=member.name, whole=self.method.needs_distribution)
        total, start, answers = sum(len(c.tokens) for c in chunks), 0, []
        for row, chunk, fill in zip(rows, chunks, prefill, strict=True):
            seconds = output.seconds * len(chunk.tokens) / total
            if fill:
                row.counters.seconds_prefill += seconds
            else:
                row.counters.seconds_verify += seconds
            row.counters.assistant_calls += 1
            row.counters.assistant_tokens += len(chunk.tokens)
            after = start + len(row.pending)
            answers.append((view[start:after], view[after : after + 1]))
            start = after + 1
        return answers

    # -- committing

    def _decide(self, row: Row, choice: Choice, views: dict[int, View]) -> None:
        """Commit pending tokens up to the first that is replaced, or all; rewind what was computed beyond."""
        tops = {m: v.top.tolist() for m, v in views.items()}
        chances = {m: v.probability.tolist() for m, v in views.items()}
        drafted, certain = row.pending, row.certain
        row.clear_pending()
        stood, at = True, 0
        for at, (token, author) in enumerate(zip(choice.token.tolist(), choice.author.tolist(), strict=True)):
            seen = {m: (tops[m][at], chances[m][at]) for m in views if m == self.method.drafter or not certain[at]}
            stood = token == drafted[at]
            if not certain[at]:
                row.counters.asked += 1
                row.counters.accepted += stood
                row.counters.replaced += not stood
                self.acceptance.add(chances[self.method.drafter][at], stood)
            self._commit(row, token, author, seen)
            if row.finish or not stood:
                row.counters.draft_discarded += len(drafted) - at - 1 + (not stood)
                break
        if not stood:
            row.known = {}
        for m in self.method.members:
            self.members[m].rows.rewind(row.slot, len(row.tokens) - (not stood))

    def _commit_known(self, row: Row) -> None:
        """The assistants alone decide and know the next prefix already: one more token without the draft."""
        choice = self.method.choose(row.known)
        token, author = int(choice.token[0]), int(choice.author[0])
        seen = {m: (int(v.top[0]), float(v.probability[0])) for m, v in row.known.items()}
        row.known = {}
        row.counters.asked += 1
        row.counters.bonus += 1
        self._commit(row, token, author, seen)

    def _commit(self, row: Row, token: int, author: int, seen: dict[int, tuple[int, float]]) -> None:
        """Write a token for good, with who wrote it and what was seen; find out whether the text ends."""
        if not row.output:
            row.counters.first_token = perf_counter() - row.begin
        row.tokens.append(token)
        row.output.append(token)
        row.counters.output_tokens += 1
        piece, stopped = row.ending.push(token)
        record, members = row.record, range(len(self.members))
        record.token.append(token)
        record.text.append(piece)
        record.author.append(author)
        record.top.append([seen[m][0] if m in seen else None for m in members])
        record.top_text.append([self._piece(seen[m][0]) if m in seen else None for m in members])
        record.probability.append([seen[m][1] if m in seen else None for m in members])
        if token in self.end:
            row.finish = "end"
        elif stopped:
            row.finish = "stop"
        elif len(row.output) >= row.limit:
            row.finish = "length" if len(row.output) >= row.request.max_new_tokens else "context"

    def _piece(self, token: int) -> str:
        if token not in self.pieces:
            self.pieces[token] = self.tokenizer.decode([token], skip_special_tokens=False)
        return self.pieces[token]
