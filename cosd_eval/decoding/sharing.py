"""Which new rows can copy the start of another row instead of computing it."""

from collections.abc import Sequence
from dataclasses import dataclass

from cosd_eval.decoding.cache import Rows

SHARE_FROM = 16  # shorter common prefixes are not worth copying


def common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the longest common prefix, by bisection over slices (compared at C speed)."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


@dataclass(frozen=True)
class Start:
    """How a new row starts: `length` tokens taken from the row `source`, once stage `stage` - 1 is computed."""

    source: int
    length: int
    stage: int


def plan(rows: Rows, new: dict[int, Sequence[int]]) -> dict[int, Start]:
    """For each new row (row -> its tokens) the best start there is: its own history, a row that stays as it is, or
    another new row, which must then be computed a stage earlier. A later stage has to be worth it.
    """
    starts: dict[int, Start] = {}
    settled = [r for r in range(len(rows.lengths)) if r not in new and rows.lengths[r]]
    for row, tokens in new.items():
        most = tokens[:-1]  # at least one token has to be computed, so that there is a distribution to read
        best = Start(row, common_prefix(rows.history[row], most), 0)
        for source, known, stage in (
            *((r, rows.history[r], 0) for r in settled),
            *((r, new[r], s.stage + 1) for r, s in starts.items()),
        ):
            length = common_prefix(known, most)
            if length >= best.length + SHARE_FROM * (1 + max(0, stage - best.stage)):
                best = Start(source, length, stage)
        starts[row] = best if best.length >= SHARE_FROM or best.source == row else Start(row, 0, 0)
    return starts
