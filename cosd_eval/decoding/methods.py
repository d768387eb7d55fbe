"""The methods: pure functions of the members' next-token distributions at one prefix (here at n prefixes at once).

A method says which members it asks, where it can decide without the assistants (its gate), which token stands, and
what log-probability the distribution it induces gives to a token. No caches, no loops, no tokenizers.
Member 0 is the draft, x̃ its first choice; x̂ is an assistant's.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cosd_eval.errors import NumericalError

SLICE = 64  # positions whose float32 distributions are held at once


@dataclass(frozen=True)
class View:
    """What one member says at n prefixes.

    top [n]: its first choice; probability [n]: softmax probability of that, float32. Where asked for:
    target [n]: log-probability of a given token; distribution [n, vocabulary]: probabilities, float32;
    hidden [n, width]: the last hidden state.
    """

    top: Tensor
    probability: Tensor
    target: Tensor | None = None
    distribution: Tensor | None = None
    hidden: Tensor | None = None

    def __getitem__(self, positions: slice | Tensor) -> "View":
        return View(*(None if t is None else t[positions] for t in self._parts()))  # type: ignore[arg-type]

    def _parts(self) -> tuple[Tensor | None, ...]:
        return self.top, self.probability, self.target, self.distribution, self.hidden

    @staticmethod
    def join(views: Sequence["View"]) -> "View":
        if len(views) == 1:
            return views[0]
        columns = zip(*(v._parts() for v in views), strict=True)
        return View(*(None if c[0] is None else torch.cat(c) for c in columns))  # type: ignore[arg-type]


def look(
    logits: Tensor, hidden: Tensor, *, who: str = "?", targets: Tensor | None = None, whole: bool = False, states: bool = False
) -> View:
    """The view of member `who` behind logits [n, vocabulary]; softmax at temperature 1 in float32, whatever the model's dtype.

    Raises NumericalError if logits are not numbers.
    """
    columns: list[tuple[Tensor, ...]] = []
    for start in range(0, logits.shape[0], SLICE):
        scores = logits[start : start + SLICE].float()
        total = scores.logsumexp(-1)
        if not torch.isfinite(total).all():
            raise NumericalError(f"Member {who} gave logits that are not numbers: try --dtype float32, or check its weights.")
        best, top = scores.max(-1)
        column = [top, (best - total).exp()]
        if targets is not None:
            column.append(scores.gather(-1, targets[start : start + SLICE, None])[:, 0] - total)
        if whole:
            column.append((scores - total[:, None]).exp_())
        columns.append(tuple(column))
    joined = (
        [torch.cat(c) for c in zip(*columns, strict=True)]
        if columns
        else [logits.new_zeros(0, dtype=torch.long), logits.new_zeros(0)]
    )
    return View(
        joined[0],
        joined[1],
        target=joined[2] if targets is not None else None,
        distribution=joined[-1] if whole else None,
        hidden=hidden if states else None,
    )


@dataclass(frozen=True)
class Choice:
    """The token that stands at each of n prefixes [n], and the member that wrote it [n] (-1: a mixture's own choice)."""

    token: Tensor
    author: Tensor


Views = Mapping[int, View]  # by member index


class Method(ABC):
    """One way to decode. `drafter` writes, `asks` are the assistants it may turn to."""

    drafter: int = 0
    asks: tuple[int, ...] = ()
    needs_distribution = False  # whole distributions, not only the first choices
    needs_hidden = False  # the drafter's last hidden state
    ignores_draft = False  # the assistants alone decide, so their view of the next prefix already is the next token

    @property
    def members(self) -> tuple[int, ...]:
        return tuple(sorted({self.drafter, *self.asks}))

    def certain(self, draft: View) -> Tensor:
        """The gate [n]: True where the draft's token stands whatever the assistants say."""
        return torch.full(draft.top.shape, not self.asks, device=draft.top.device)

    @abstractmethod
    def choose(self, views: Views) -> Choice: ...

    def log_probability(self, views: Views, choice: Choice) -> Tensor:
        """log p(target | prefix) [n] under the induced distribution: that of the member that was chosen."""
        targets = torch.stack([_target(views[m]) for m in self.members])  # [members, n]
        position = torch.zeros_like(choice.author)
        for at, member in enumerate(self.members):
            position[choice.author == member] = at
        return targets.gather(0, position[None])[0]


def _target(view: View) -> Tensor:
    assert view.target is not None
    return view.target


class Alone(Method):
    """argmax of one member."""

    def __init__(self, member: int) -> None:
        self.drafter = member

    def choose(self, views: Views) -> Choice:
        top = views[self.drafter].top
        return Choice(top, torch.full_like(top, self.drafter))


class Speculative(Method):
    """Greedy speculative decoding (Leviathan et al. 2023, alg. 1): the target's argmax. The last assistant is the target."""

    ignores_draft = True

    def __init__(self, members: int) -> None:
        self.asks = (members - 1,)

    def choose(self, views: Views) -> Choice:
        target = self.asks[0]
        token = views[target].top
        author = torch.full_like(token, target)
        if 0 in views:
            author[views[0].top == token] = 0
        return Choice(token, author)

    def log_probability(self, views: Views, choice: Choice) -> Tensor:
        return _target(views[self.asks[0]])


class Average(Method):
    """argmax of Σ w_i · p_i, in probabilities (the CoSD baseline). weights: one a member; they are normalised."""

    needs_distribution = True

    def __init__(self, weights: Sequence[float]) -> None:
        self.weights = [w / sum(weights) for w in weights]
        self.asks = tuple(range(1, len(weights)))

    def choose(self, views: Views) -> Choice:
        mixture = self.weights[0] * _distribution(views[0])
        for member, weight in enumerate(self.weights[1:], 1):
            mixture.add_(_distribution(views[member]), alpha=weight)
        token = mixture.argmax(-1)
        author = torch.full_like(token, -1)
        for member in reversed(range(len(self.weights))):
            author[views[member].top == token] = member
        return Choice(token, author)

    def log_probability(self, views: Views, choice: Choice) -> Tensor:
        weights = torch.tensor(self.weights, device=choice.token.device).log()[:, None]
        return torch.logsumexp(torch.stack([_target(views[m]) for m in self.members]) + weights, 0)


def _distribution(view: View) -> Tensor:
    assert view.distribution is not None
    return view.distribution


class Rule(Method):
    """CoSD-Rule (CoSD eq. 4-6, alg. 1): x̂ if x̃ ≠ x̂ and p(x̃) < α and q(x̂) > β·p(x̃), else x̃; strict inequalities.

    Of several assistants, the one that is surest of its own first choice speaks.
    """

    def __init__(self, alpha: float, beta: float, members: int = 2) -> None:
        self.alpha, self.beta = alpha, beta
        self.asks = tuple(range(1, members))

    def certain(self, draft: View) -> Tensor:
        return draft.probability >= self.alpha

    def choose(self, views: Views) -> Choice:
        draft = views[0]
        surest = torch.stack([views[a].probability for a in self.asks]).max(0)
        other = torch.stack([views[a].top for a in self.asks]).gather(0, surest.indices[None])[0]
        replace = (other != draft.top) & (draft.probability < self.alpha) & (surest.values > self.beta * draft.probability)
        author = torch.where(replace, surest.indices + 1, 0)
        return Choice(torch.where(replace, other, draft.top), author)


@dataclass(frozen=True)
class TreeNodes:
    """A decision tree over the members' top probabilities, as parallel lists (as scikit-learn stores it).

    feature[i]: member whose probability node i tests, or -1 for a leaf; x ≤ threshold goes left. leaf[i]: its class.
    """

    feature: tuple[int, ...]
    threshold: tuple[float, ...]
    left: tuple[int, ...]
    right: tuple[int, ...]
    leaf: tuple[int, ...]


class Tree(Method):
    """CoSD-Tree (CoSD §3.2): the tree names the member whose token stands; a token they share counts as the draft's."""

    def __init__(self, nodes: TreeNodes, members: int = 2) -> None:
        self.nodes = nodes
        self.asks = tuple(range(1, members))

    def certain(self, draft: View) -> Tensor:
        return self._always_draft(0, draft.probability.double())

    def _always_draft(self, node: int, p: Tensor) -> Tensor:
        """[n]: every leaf that p(x̃) can still reach, whatever the assistants' probabilities, says "draft"."""
        if self.nodes.feature[node] < 0:
            return torch.full(p.shape, self.nodes.leaf[node] == 0, device=p.device)
        left, right = (self._always_draft(n, p) for n in (self.nodes.left[node], self.nodes.right[node]))
        if self.nodes.feature[node] == 0:
            return torch.where(p <= self.nodes.threshold[node], left, right)
        return left & right

    def classify(self, features: Tensor) -> Tensor:
        """The class [n] of features [n, members]."""
        features = features.double()
        at = torch.zeros(features.shape[0], dtype=torch.long, device=features.device)
        feature, threshold, left, right, leaf = (
            torch.tensor(column, device=features.device)
            for column in (self.nodes.feature, self.nodes.threshold, self.nodes.left, self.nodes.right, self.nodes.leaf)
        )
        while bool((inner := feature[at] >= 0).any()):
            value = features.gather(1, feature[at].clamp(min=0)[:, None])[:, 0]
            step = torch.where(value <= threshold.double()[at], left[at], right[at])
            at = torch.where(inner, step, at)
        return leaf[at]

    def choose(self, views: Views) -> Choice:
        tops = torch.stack([views[m].top for m in self.members])
        member = self.classify(torch.stack([views[m].probability for m in self.members], -1))
        token = tops.gather(0, member[None])[0]
        return Choice(token, torch.where(token == tops[0], 0, member))


class CoLLM(Method):
    """Co-LLM (Shen et al. 2024): assistant's argmax if σ(w·h + b) > η, else the draft's; h: the draft's last hidden state."""

    needs_hidden = True

    def __init__(self, weight: Tensor, bias: float, eta: float) -> None:
        self.weight, self.bias, self.eta = weight.double(), bias, eta
        self.asks = (1,)

    def deferral(self, draft: View) -> Tensor:
        """σ(w·h + b) [n]."""
        assert draft.hidden is not None
        return torch.sigmoid(draft.hidden.double() @ self.weight.to(draft.hidden.device) + self.bias)

    def certain(self, draft: View) -> Tensor:
        return ~(self.deferral(draft) > self.eta)

    def choose(self, views: Views) -> Choice:
        defer = self.deferral(views[0]) > self.eta
        return Choice(torch.where(defer, views[1].top, views[0].top), defer.long())
