"""One causal language model taking part: it extends rows by tokens and gives the logits that somebody reads."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from cosd_eval.decoding import cache, sharing
from cosd_eval.decoding.packing import pack_linear_layers
from cosd_eval.errors import ModelError

PROBE = "The quick brown fox jumps over the lazy dog, and then it sleeps."  # a text to compare logits on
PASS_TOKENS = 1024  # new tokens in one forward pass, at most half as many again: it bounds the memory of activations

Model = Any  # a transformers PreTrainedModel; its methods are typed too loosely to help
Tokenizer = Any


@dataclass(frozen=True)
class Chunk:
    """New tokens of one row; the distributions after the last `want` of them are read."""

    row: int
    tokens: Sequence[int]
    want: int = 1


@dataclass(frozen=True)
class Output:
    """Logits [n, vocabulary] and the last hidden states [n, width] they come from, for all wanted positions in chunk order.
    tokens: new tokens computed; seconds: wall time."""

    logits: Tensor
    hidden: Tensor
    tokens: int
    seconds: float


@dataclass(frozen=True)
class Piece:
    """Tokens start … stop of a chunk."""

    chunk: int
    start: int
    stop: int


class Member:
    """A model with its tokenizer and its key/value rows.

    vocabulary: how many logits are kept (the loader cuts it to what the members share). end_tokens: ids that end a text.
    """

    def __init__(self, model: Model, tokenizer: Tokenizer, name: str) -> None:
        """Raises ModelError if the model's own attention and ours disagree."""
        self.name = name
        self.tokenizer = tokenizer
        self.model = model.eval()
        self.device: torch.device = model.get_input_embeddings().weight.device
        self.dtype: torch.dtype = model.get_input_embeddings().weight.dtype
        config = model.config.get_text_config()
        self.vocabulary: int = config.vocab_size
        self.max_length = int(getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", 0) or 1 << 30)
        self.end_tokens = end_tokens(model, tokenizer)
        self.parameters = sum(p.numel() for p in model.parameters())
        self.weight_bytes = sum(p.nbytes for p in model.parameters())
        probe = tokenizer.encode(PROBE)[:16]
        with torch.inference_mode():
            expected = model(input_ids=torch.tensor([probe], device=self.device), use_cache=False).logits[0]
        cache.register()
        model.set_attn_implementation(cache.NAME)
        pack_linear_layers(model)
        self._hidden = torch.empty(0)
        model.get_output_embeddings().register_forward_pre_hook(self._keep_hidden)
        self.rows = cache.Rows(1)
        self._check(probe, expected)
        self.row_bytes_per_token = self.rows.nbytes() // self.rows.capacity
        self.open(1)

    def _keep_hidden(self, _: Any, inputs: tuple[Tensor, ...]) -> None:
        self._hidden = inputs[0]

    def _check(self, tokens: list[int], expected: Tensor) -> None:
        """Compare a short text, computed in two chunks, with the model's own forward pass."""
        half = len(tokens) // 2
        first = self.run([Chunk(0, tokens[:half], half)]).logits
        second = self.run([Chunk(0, tokens[half:], len(tokens) - half)]).logits
        ours, theirs = torch.cat([first, second]).float().flatten(), expected.float().flatten()
        alike = float(torch.corrcoef(torch.stack([ours, theirs]))[0, 1])
        if not alike > (0.9999 if self.dtype == torch.float32 else 0.98):  # bfloat16 alone moves logits far
            raise ModelError(
                f"{self.name}: this architecture ({type(self.model).__name__}) gives other logits when its tokens are packed "
                f"(correlation {alike:.3f}), so it cannot be decoded here: use a decoder with plain attention."
            )

    def open(self, rows: int, length: int = cache.GROWTH) -> None:
        """Start afresh with that many empty rows, with room for `length` tokens each (it grows where that is too little)."""
        self.rows = cache.Rows(rows, length, self.rows)

    @torch.inference_mode()
    def run(self, chunks: Sequence[Chunk], *, share: bool = True) -> Output:
        """Extend rows by their chunks' tokens; a row may appear once.

        `share`: a row that is empty may begin with a copy of the prefix it has in common with another.
        """
        begin = perf_counter()
        parts: list[list[tuple[Tensor, Tensor]]] = [[] for _ in chunks]
        tokens = 0
        for pieces in self._passes(chunks, share):
            tokens += sum(p.stop - p.start for p in pieces)
            for piece, part in zip(pieces, self._forward(chunks, pieces), strict=True):
                parts[piece.chunk].append(part)
        flat = [part for some in parts for part in some if part[0].shape[0]]
        logits, hidden = (torch.cat([part[i] for part in flat]) for i in (0, 1)) if flat else (self._hidden[:0], self._hidden[:0])
        return Output(logits, hidden, tokens, perf_counter() - begin)

    def _passes(self, chunks: Sequence[Chunk], share: bool) -> Iterator[list[Piece]]:
        """Forward passes of about PASS_TOKENS tokens, in an order in which every prefix is computed before it is copied."""
        new = {c.row: list(c.tokens) for c in chunks if self.rows.lengths[c.row] == 0}
        wants = {c.row: max(c.want, 1) for c in chunks}
        if share:
            starts = sharing.plan(self.rows, {row: t[: len(t) + 1 - wants[row]] for row, t in new.items()})
        else:
            starts = {row: sharing.Start(row, 0, 0) for row in new}
        stages = [starts[c.row].stage if c.row in starts else 0 for c in chunks]
        for stage in range(max(stages) + 1):
            here = [i for i, s in enumerate(stages) if s == stage]
            begin = {i: self._begin(chunks[i].row, starts) for i in here}
            yield from _pieces([Piece(i, begin[i], len(chunks[i].tokens)) for i in here])

    def _begin(self, row: int, starts: dict[int, sharing.Start]) -> int:
        """Put a row's shared prefix in place; returns its length."""
        if row not in starts:
            return 0
        start = starts[row]
        if start.source == row:
            self.rows.keep_prefix(row, start.length)
        else:
            self.rows.copy_prefix(start.source, row, start.length)
        return start.length

    def _forward(self, chunks: Sequence[Chunk], pieces: Sequence[Piece]) -> list[tuple[Tensor, Tensor]]:
        """One packed pass: for each piece the logits and hidden states of its wanted positions."""
        ids: list[int] = []
        wanted: list[int] = []
        counts: list[int] = []
        for p in pieces:
            chunk = chunks[p.chunk]
            first = max(p.start, len(chunk.tokens) - chunk.want)
            counts.append(max(0, p.stop - first))
            wanted += range(len(ids) + first - p.start, len(ids) + p.stop - p.start)
            ids += chunk.tokens[p.start : p.stop]
        logits, hidden = self.feed([(chunks[p.chunk].row, p.stop - p.start) for p in pieces], ids, wanted)
        for p in pieces:
            row = chunks[p.chunk].row
            self.rows.lengths[row] += p.stop - p.start
            self.rows.history[row].extend(chunks[p.chunk].tokens[p.start : p.stop])
        return list(zip(logits.split(counts), hidden.split(counts), strict=True))

    def feed(self, counts: Sequence[tuple[int, int]], ids: Sequence[int], wanted: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Call the model on packed `ids`: counts has (row, its number of new tokens) in order, wanted the packed positions whose
        logits [n, vocabulary] and hidden states [n, width] come back. Rows are written, their lengths stay as they are.
        Ids and wanted positions are filled up to the sizes of `padded`."""
        plan = cache.Pass(self.rows, counts, self.device, padded(len(ids)))
        read = [*wanted, *[0] * (padded(len(wanted)) - len(wanted))]
        result = self.model(
            input_ids=torch.tensor([[*ids, *[0] * plan.filler]], device=self.device),
            position_ids=plan.fed_positions[None],
            use_cache=False,
            logits_to_keep=torch.tensor(read, dtype=torch.long, device=self.device),
            cosd_pass=plan,
        )
        return result.logits[0, : len(wanted), : self.vocabulary], self._hidden[0, : len(wanted)]


def padded(count: int) -> int:
    """How many tokens are fed for `count`: a few sizes serve all, since the CPU's linear algebra keeps memory for each size
    that it has seen, and sets itself up anew for each that it has not."""
    step = 1 if count <= 16 else 8 if count <= 64 else 32 if count <= 512 else 64
    return -(-count // step) * step


def _pieces(whole: Sequence[Piece]) -> Iterator[list[Piece]]:
    """Cut and gather pieces into passes of about PASS_TOKENS tokens, as many in each: a small rest would cost as much as
    reading all weights does."""
    total = sum(p.stop - p.start for p in whole)
    size = padded(-(-total // max(1, round(total / PASS_TOKENS))))
    current: list[Piece] = []
    room = size
    for piece in whole:
        start = piece.start
        while start < piece.stop:
            stop = min(piece.stop, start + room)
            current.append(Piece(piece.chunk, start, stop))
            room -= stop - start
            start = stop
            if room == 0:
                yield current
                current, room = [], size
    if current:
        yield current


def end_tokens(model: Model, tokenizer: Tokenizer) -> frozenset[int]:
    """The ids that end a text: the model's generation settings and the tokenizer's end-of-text token."""
    known = getattr(model.generation_config, "eos_token_id", None)
    ids = known if isinstance(known, (list, tuple)) else [known]
    own = getattr(tokenizer, "eos_token_id", None) if tokenizer is not None else None
    return frozenset(int(i) for i in (*ids, own) if i is not None)
