"""When to draft on and when to ask: a model of what passes cost and of how likely draft tokens stand.

Only speed depends on it. It uses sizes and counts, never the clock, so that the same run makes the same passes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

# New tokens that double the cost of a pass. Up to about that many, reading the weights is what costs.
KNEE = {"cpu": 96, "cuda": 256}


@dataclass(frozen=True)
class PassCost:
    """Cost of a forward pass over t new tokens: fixed + per_token · t, in arbitrary units common to the members."""

    fixed: float
    per_token: float

    @staticmethod
    def of(parameters: int, device: str) -> "PassCost":
        return PassCost(parameters, parameters / KNEE.get(device, 256))

    def __call__(self, tokens: int) -> float:
        return self.fixed + self.per_token * tokens if tokens else 0.0


class Acceptance:
    """How often an uncertain draft token stands, by the draft's probability of it (ten bins, with a prior)."""

    PRIOR = 4.0

    def __init__(self) -> None:
        self.asked = [self.PRIOR] * 10
        self.stood = [self.PRIOR * (0.3 + 0.065 * i) for i in range(10)]

    def add(self, probability: float, stood: bool) -> None:
        at = min(9, int(10 * probability))
        self.asked[at] += 1
        self.stood[at] += stood

    def __call__(self, probability: float) -> float:
        at = min(9, int(10 * probability))
        return self.stood[at] / self.asked[at]


@dataclass(frozen=True)
class Waiting:
    """A row with uncertain draft tokens: how many tokens a verify pass would feed for it, how many of them it would
    commit on average, and the probability that all it has drafted stands."""

    tokens: int
    expected: float
    survival: float


class Round:
    """One draft-verify turn: what it has cost so far and what it has committed for certain."""

    def __init__(self, draft: PassCost, verify: Sequence[PassCost]) -> None:
        self.draft, self.verify = draft, verify
        self.cost = 0.0
        self.committed = 0.0

    def drafted(self, rows: int) -> None:
        self.cost += self.draft(rows)

    def _verify(self, tokens: int) -> float:
        return sum(pass_cost(tokens) for pass_cost in self.verify)

    def worth_drafting(self, waiting: Sequence[Waiting], free: int) -> list[bool] | None:
        """Which of the waiting rows should draft one more token beside the `free` ones; None: verify now.

        Go on as long as the next step yields more tokens for its cost than the round would by stopping here
        (the rule that maximises a ratio of sums).
        """
        expected = self.committed + sum(w.expected for w in waiting)
        total = self.cost + self._verify(sum(w.tokens for w in waiting))
        rate = expected / total
        extra = self.draft.per_token + sum(v.per_token for v in self.verify)
        join = [w.survival > rate * extra for w in waiting]
        gain = free + sum(w.survival for w, j in zip(waiting, join, strict=True) if j)
        price = self.draft(free + sum(join)) + sum(v.per_token for v in self.verify) * sum(join)
        return join if (free or any(join)) and gain > rate * price else None
