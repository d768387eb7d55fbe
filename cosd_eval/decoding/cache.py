"""Key/value rows of unequal length, and attention over them for packed new tokens.

A pass feeds a member the new tokens of several rows, packed one after another without padding: shape [1, t]. Each
layer's keys and values go into the rows; each row's tokens then attend to that row alone. Rewinding a row is setting
its length: what lies beyond is overwritten later and masked until then.

Layout per layer: keys and values [rows, kv_heads, capacity, head_size].
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from cosd_eval.errors import ModelError

SMALL = 32  # up to so many new tokens a row, neighbouring rows attend in one call, padded to the longest of them
CALL = {"cpu": 1 << 12, "cuda": 1 << 24}  # what one more call of attention costs, measured as `_work` does
GROWTH = 64  # capacities are multiples of this


class Rows:
    """The key/value rows of one member.

    lengths: tokens each row holds; history: those tokens, from which later rows may copy a common prefix. A restarted row
    has length 0, yet its history stays until it is written again.
    """

    def __init__(self, rows: int, capacity: int = GROWTH, before: "Rows | None" = None) -> None:
        """`before`: rows that nobody uses any more, whose memory is taken over if these fit into it: what is freed and asked
        for again, run after run, ends up scattered."""
        self.lengths = [0] * rows
        self.history: list[list[int]] = [[] for _ in range(rows)]
        self.capacity = _rounded(capacity)
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []
        if before is not None and before.keys and before.keys[0].shape[0] >= rows and before.capacity >= self.capacity:
            self.capacity, self.keys, self.values = before.capacity, before.keys, before.values
            with torch.inference_mode():
                for tensor in (*self.keys, *self.values):
                    tensor.zero_()

    def rewind(self, row: int, length: int) -> None:
        """Forget what a row holds beyond `length` tokens. Costs nothing."""
        if length < self.lengths[row]:
            self.keep_prefix(row, length)

    def restart(self, row: int) -> None:
        """Empty a row for another sequence, which may still take over the prefix that both have in common."""
        self.lengths[row] = 0

    def keep_prefix(self, row: int, length: int) -> None:
        """Let a restarted row begin with the first `length` tokens of its history."""
        self.lengths[row] = length
        del self.history[row][length:]

    def reserve(self, length: int) -> None:
        """Make room for rows of `length` tokens; keeps what is held. Grows by a quarter at least, since it copies everything."""
        if length <= self.capacity:
            return
        old, self.capacity = self.capacity, _rounded(max(length, self.capacity * 5 // 4))
        for stored in (self.keys, self.values):
            for layer, tensor in enumerate(stored):
                grown = tensor.new_zeros((*tensor.shape[:2], self.capacity, tensor.shape[3]))
                grown[:, :, :old] = tensor
                stored[layer] = grown

    def copy_prefix(self, source: int, target: int, length: int) -> None:
        """Give the row `target` the first `length` tokens of the row `source`, in place of all it held."""
        for tensor in (*self.keys, *self.values):
            tensor[target, :, :length] = tensor[source, :, :length]
        self.lengths[target] = length
        self.history[target] = self.history[source][:length]

    def write(self, layer: int, rows: Tensor, positions: Tensor, key: Tensor, value: Tensor) -> None:
        """Store new keys and values [1, kv_heads, t, head_size] at (rows, positions), both [t]."""
        if layer == len(self.keys):  # zeros, since what is masked still meets a weight of 0, and 0 · NaN is NaN
            shape = (len(self.lengths), key.shape[1], self.capacity, key.shape[3])
            self.keys.append(key.new_zeros(shape))
            self.values.append(value.new_zeros((*shape[:3], value.shape[3])))
        self.keys[layer][rows, :, positions] = key[0].transpose(0, 1)
        self.values[layer][rows, :, positions] = value[0].transpose(0, 1)

    def nbytes(self) -> int:
        return sum(t.nbytes for t in (*self.keys, *self.values))


def _rounded(length: int) -> int:
    return -(-length // GROWTH) * GROWTH


@dataclass(frozen=True)
class Span:
    """`count` new tokens of one row: packed positions start … start + count, on top of `base` held tokens."""

    row: int
    start: int
    count: int
    base: int


@dataclass
class Group:
    """Neighbouring rows (first … first + len(spans)) that attend in one call, or one row alone."""

    spans: list[Span]
    width: int = 0
    length: int = 0
    index: Tensor | None = None  # [rows · width] packed positions, padded with the row's last; None: they follow one another
    valid: Tensor | None = None  # flat positions in [rows · width] that are no padding; None: all are valid
    masks: dict[int | None, Tensor | None] = field(default_factory=dict)  # by sliding window

    @property
    def fresh(self) -> bool:
        """One row that held nothing: plain causal attention among its own new tokens."""
        return len(self.spans) == 1 and self.spans[0].base == 0

    def prepare(self, device: torch.device) -> None:
        self.width = max(s.count for s in self.spans)
        self.length = max(s.base + s.count for s in self.spans)
        index = [s.start + min(i, s.count - 1) for s in self.spans for i in range(self.width)]
        if index != list(range(index[0], index[0] + len(index))):
            self.index = torch.tensor(index, device=device)
        if any(s.count < self.width for s in self.spans):
            flat = [r * self.width + i for r, s in enumerate(self.spans) for i in range(s.count)]
            self.valid = torch.tensor(flat, device=device)

    def mask(self, window: int | None, heads: int, like: Tensor) -> Tensor | None:
        """Additive mask [rows, 1, heads · width, length], or None where every key is visible to every query."""
        if window is not None and self.length <= window:
            window = None
        if window not in self.masks:
            self.masks[window] = self._mask(window, heads, like)
        return self.masks[window]

    def _mask(self, window: int | None, heads: int, like: Tensor) -> Tensor | None:
        if window is None and self.width == 1 and all(s.base + 1 == self.length for s in self.spans):
            return None
        query = [[s.base + min(i, s.count - 1) for i in range(self.width)] for s in self.spans]
        at = torch.tensor(query, device=like.device)[:, :, None]  # [rows, width, 1]
        key = torch.arange(self.length, device=like.device)
        hidden = key > at
        if window is not None:
            hidden |= key <= at - window
        mask = torch.zeros(hidden.shape, dtype=like.dtype, device=like.device).masked_fill_(hidden, float("-inf"))
        return mask.repeat(1, heads, 1)[:, None]


class Pass:
    """The plan of one forward pass: which packed token belongs to which row, and who attends together."""

    def __init__(self, rows: Rows, counts: Sequence[tuple[int, int]], device: torch.device, length: int | None = None) -> None:
        """counts: (row, number of new tokens), in packed order; `length` tokens are fed, those beyond the rows' being filler."""
        self.cache = rows
        spans, start = [], 0
        for row, count in counts:
            spans.append(Span(row, start, count, rows.lengths[row]))
            start += count
        self.tokens = start
        self.filler = (length or start) - start
        self.rows = torch.tensor([s.row for s in spans for _ in range(s.count)], device=device)
        self.positions = torch.tensor([s.base + i for s in spans for i in range(s.count)], device=device)
        self.fed_positions = F.pad(self.positions, (0, self.filler))
        self.groups = _grouped(spans, CALL.get(device.type, CALL["cuda"]))
        for group in self.groups:
            group.prepare(device)
        joined = [s.start + i for g in self.groups for s in g.spans for i in range(s.count)]
        in_order = joined == list(range(self.tokens))
        self._order = None if in_order else torch.argsort(torch.tensor(joined, device=device))  # of the groups' outputs, joined
        rows.reserve(max(s.base + s.count for s in spans))

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float | None, window: int | None) -> Tensor:
        """query [1, heads, t, size], key and value [1, kv_heads, t, size] -> [1, t, heads, size]; zeros for filler."""
        query, key, value = (x[:, :, : self.tokens] for x in (query, key, value))
        self.cache.write(layer, self.rows, self.positions, key, value)
        outputs = []
        for group in self.groups:
            if group.fresh and (window is None or group.length <= window):
                outputs.append(_attend_fresh(group.spans[0], query, key, value, scaling))
            else:
                outputs.append(self._attend_rows(group, layer, query, scaling, window))
        together = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
        together = together if self._order is None else together[self._order]
        return F.pad(together, (0, 0, 0, 0, 0, self.filler))[None]

    def _attend_rows(self, group: Group, layer: int, query: Tensor, scaling: float | None, window: int | None) -> Tensor:
        """Query heads that share a key head are folded into the query length, so that keys are read once."""
        first, count = group.spans[0].row, len(group.spans)
        keys = self.cache.keys[layer][first : first + count, :, : group.length]
        values = self.cache.values[layer][first : first + count, :, : group.length]
        kv_heads, share, width = keys.shape[1], query.shape[1] // keys.shape[1], group.width
        new, start = query[0].transpose(0, 1), group.spans[0].start  # [t, heads, size], as it lies in memory
        new = new[start : start + count * width] if group.index is None else new[group.index]
        folded = new.reshape(count, width, kv_heads, share, -1).permute(0, 2, 3, 1, 4).reshape(count, kv_heads, share * width, -1)
        mask = group.mask(window, share, query)
        out = F.scaled_dot_product_attention(folded, keys, values, attn_mask=mask, scale=scaling)
        out = out.view(count, kv_heads, share, width, -1).permute(0, 3, 1, 2, 4).reshape(count * width, query.shape[1], -1)
        return out if group.valid is None else out[group.valid]


def _attend_fresh(span: Span, query: Tensor, key: Tensor, value: Tensor, scaling: float | None) -> Tensor:
    """Causal attention of one row's tokens among themselves -> [count, heads, size]. Key heads serve as a batch, so that
    they are expanded by strides and not copied."""
    here = slice(span.start, span.start + span.count)
    kv_heads, share = key.shape[1], query.shape[1] // key.shape[1]
    q = query[0][:, here].reshape(kv_heads, share, span.count, -1)
    k = key[0][:, None, here].expand(-1, share, -1, -1)
    v = value[0][:, None, here].expand(-1, share, -1, -1)
    out = F.scaled_dot_product_attention(q, k, v, is_causal=span.count > 1, scale=scaling)
    return out.permute(2, 0, 1, 3).reshape(span.count, query.shape[1], -1)


def _grouped(spans: Sequence[Span], call: int) -> list[Group]:
    """Neighbouring rows with few new tokens attend together where padding them to the longest costs less than a `call`."""
    groups: list[Group] = []
    for span in sorted(spans, key=lambda s: s.row):
        before = groups[-1].spans if groups else []
        joins = before and before[-1].row + 1 == span.row and max(span.count, before[-1].count) <= SMALL
        if joins and not (span.base == 0 and span.count > 1) and _work([*before, span]) <= _work(before) + _work([span]) + call:
            before.append(span)
        else:
            groups.append(Group([span]))
    return groups


def _work(spans: Sequence[Span]) -> int:
    """Cost of attending in one call, in a key's share of it: its reading costs about eight times what a query adds."""
    return len(spans) * max(s.base + s.count for s in spans) * (8 + max(s.count for s in spans))


NAME = "cosd_packed"  # under which transformers knows our attention


def packed_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None = None,
    *,
    scaling: float | None = None,
    sliding_window: int | None = None,
    cosd_pass: Pass | None = None,
    **others: object,
) -> tuple[Tensor, None]:
    """What transformers calls in every layer once `attn_implementation` is NAME. Raises ModelError for attention we lack."""
    if cosd_pass is None:
        raise ModelError(
            "This model does not hand keyword arguments down to its attention, so it cannot be decoded here: use another."
        )
    for name in ("softcap", "s_aux"):
        if others.get(name) is not None:
            raise ModelError(f"This model's attention needs {name!r}, which is not supported here: use another model.")
    layer = module.layer_idx
    assert isinstance(layer, int)
    return cosd_pass.attend(layer, query, key, value, scaling, sliding_window), None


def register() -> None:
    """Tell transformers about our attention. It makes no mask for names it has no mask function for, which is what we want."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, packed_attention)
