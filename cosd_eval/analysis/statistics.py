"""Uncertainty of a score and of a paired difference. Pure functions of numbers; scipy and statsmodels do the statistics.

Shapes: `values` holds one number a document; `groups` one group name a document (a task's subjects), or None.
A group is a cluster: its documents are not independent, so that groups, not documents, are drawn anew.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.proportion import proportion_confint

Floats = npt.NDArray[np.float64]

LEVEL = 0.95
RESAMPLES = 2000
FEW = 10  # discordant documents below which a bootstrap of right/wrong differences covers too rarely
FEW_GROUPS = 5  # groups below which there is nothing to draw anew from: documents are drawn, the groups taken as fixed
_BATCH = 2_000_000  # numbers drawn at once, to bound memory


@dataclass(frozen=True)
class Interval:
    """A mean with its standard error and 95 % interval, in the unit of the values. how: wilson, bootstrap or bonett-price."""

    mean: float
    stderr: float
    low: float
    high: float
    how: str


@dataclass(frozen=True)
class Paired:
    """A method against another on the same n documents: mean difference (first minus second) and what it is worth.

    only_first, only_second: documents that only one got right (None unless right/wrong). p: exact McNemar for right/wrong
    without groups; otherwise from the bootstrap's standard error. mcnemar: the exact test in any case (None unless right/wrong).
    detectable: the smallest true difference that a comparison of this size would find with 80 % power at 5 % (None: unknown).
    """

    n: int
    difference: Interval
    p: float
    mcnemar: float | None
    only_first: int | None
    only_second: int | None
    detectable: float | None


def score_interval(values: Sequence[float], groups: Sequence[Any] | None = None) -> Interval:
    """The mean of n >= 1 values. Wilson's interval for right/wrong without groups, else the bootstrap's.

    An interval of values within [0, 1] stays there.
    """
    x = _floats(values)
    sums, sizes = by_group(x, groups)
    if _right_wrong(x) and (len(sums) == len(x) or x.min() == x.max()):
        low, high = proportion_confint(x.sum(), len(x), alpha=1 - LEVEL, method="wilson")
        return Interval(float(x.mean()), _standard_error(x), float(low), float(high), "wilson")
    interval = bootstrap_mean(sums, sizes)
    return _within(interval, 0.0, 1.0) if x.min() >= 0 and x.max() <= 1 else interval


def by_group(values: Floats, groups: Sequence[Any] | None) -> tuple[Floats, Floats]:
    """Sum and number of documents of each group; every document is its own group if there are fewer than FEW_GROUPS."""
    codes = np.unique(np.asarray(groups, dtype=str), return_inverse=True)[1] if groups is not None else np.zeros(0, dtype=int)
    if len(codes) == 0 or codes.max() + 1 < FEW_GROUPS:
        return values, np.ones_like(values)
    return np.bincount(codes, weights=values).astype(np.float64), np.bincount(codes).astype(np.float64)


def bootstrap_mean(sums: Floats, sizes: Floats, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """Mean over documents, clusters drawn with replacement: estimate ± t(G - 1) · bootstrap standard error · sqrt(G / (G - 1)).

    Simulated coverage is 94 to 96 % for 6 to 100 clusters, where percentile and BCa intervals drop to 82 % (see the tests).
    One cluster alone has no standard error: it and the interval's ends are nan.
    """
    mean = float(sums.sum() / sizes.sum())
    count = len(sums)
    if count < 2:
        return Interval(mean, float("nan"), float("nan"), float("nan"), "bootstrap")
    if np.allclose(sums, mean * sizes):
        return Interval(mean, 0.0, mean, mean, "bootstrap")
    drawn = stats.bootstrap(
        (sums, sizes), _ratio, paired=True, vectorized=True, n_resamples=resamples, method="percentile",
        batch=max(1, _BATCH // count), rng=np.random.default_rng(seed),
    )  # fmt: skip
    stderr = float(drawn.standard_error) * float(np.sqrt(count / (count - 1)))
    half = float(stats.t.ppf((1 + LEVEL) / 2, count - 1)) * stderr
    return Interval(mean, stderr, mean - half, mean + half, "bootstrap")


def _ratio(sums: Floats, sizes: Floats, axis: int = -1) -> Floats:
    ratio: Floats = sums.sum(axis=axis) / sizes.sum(axis=axis)
    return ratio


def compare(first: Sequence[float], second: Sequence[float], groups: Sequence[Any] | None = None) -> Paired:
    """The first method against the second, document by document (n >= 1, same order)."""
    a, b = _floats(first), _floats(second)
    if len(a) != len(b):
        raise ValueError(f"a paired comparison needs the same documents: {len(a)} and {len(b)}")
    difference = a - b
    sums, sizes = by_group(difference, groups)
    interval = bootstrap_mean(sums, sizes)
    if min(a.min(), b.min()) >= 0 and max(a.max(), b.max()) <= 1:
        interval = _within(interval, -1.0, 1.0)
    if not (_right_wrong(a) and _right_wrong(b)):
        return Paired(
            len(a), interval, _t_test(interval, len(sums)), None, None, None, detectable_difference(interval, len(sums))
        )
    gained, lost = int((difference > 0).sum()), int((difference < 0).sum())
    exact = mcnemar_exact(gained, lost)
    by_documents = len(sums) == len(a) or interval.stderr == 0
    if interval.stderr == 0 or (by_documents and gained + lost < FEW):
        interval = bonett_price(gained, lost, len(a))
    p = exact if by_documents else _t_test(interval, len(sums))
    # Exact McNemar cannot reach 5 % with fewer than six discordant documents, whatever the power calculation says.
    detectable = detectable_difference(interval, len(sums))
    detectable = None if detectable is None else max(detectable, 6 / len(a))
    return Paired(len(a), interval, p, exact, gained, lost, detectable)


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """Two-sided exact McNemar test from the discordant counts; 1 if there are none."""
    if only_first + only_second == 0:
        return 1.0
    return float(mcnemar([[0, only_first], [only_second, 0]], exact=True).pvalue)


def bonett_price(only_first: int, only_second: int, n: int) -> Interval:
    """Bonett and Price's (2012) adjusted Wald interval of a difference of paired proportions, for few discordant documents."""
    up, down = (only_first + 1) / (n + 2), (only_second + 1) / (n + 2)
    stderr = float(np.sqrt((up + down - (up - down) ** 2) / (n + 2)))
    half = float(stats.norm.ppf((1 + LEVEL) / 2)) * stderr
    return Interval((only_first - only_second) / n, stderr, up - down - half, up - down + half, "bonett-price")


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given."""
    if not len(p_values):
        return []
    return [float(p) for p in multipletests(list(p_values), method="holm")[1]]


def detectable_difference(interval: Interval, clusters: int, power: float = 0.8, alpha: float = 0.05) -> float | None:
    """The true mean difference that a paired t-test over so many clusters finds with this power, given the spread seen here."""
    if clusters < 3 or not np.isfinite(interval.stderr) or interval.stderr == 0:
        return None
    effect = TTestPower().solve_power(nobs=clusters, alpha=alpha, power=power, alternative="two-sided")
    return float(effect) * interval.stderr * float(np.sqrt(clusters))


def _within(interval: Interval, low: float, high: float) -> Interval:
    return replace(interval, low=max(low, interval.low), high=min(high, interval.high))


def _t_test(interval: Interval, clusters: int) -> float:
    if clusters < 2 or not np.isfinite(interval.stderr):
        return 1.0
    if interval.stderr == 0:
        return 1.0 if interval.mean == 0 else 0.0
    return float(2 * stats.t.sf(abs(interval.mean) / interval.stderr, clusters - 1))


def reliability(confidence: Sequence[float], right: Sequence[float], bins: int = 10) -> list[tuple[float, float, int]]:
    """(mean confidence, share right, count) of each non-empty bin of equal width over [0, 1]."""
    c, r = _floats(confidence), _floats(right)
    where = np.minimum((c * bins).astype(int), bins - 1)
    return [
        (float(c[where == b].mean()), float(r[where == b].mean()), int((where == b).sum()))
        for b in range(bins)
        if (where == b).any()
    ]


def calibration_error(points: Sequence[tuple[float, float, int]]) -> float:
    """Expected calibration error of `reliability`'s bins: mean |confidence - share right|, weighted by count."""
    total = sum(count for _, _, count in points)
    return sum(abs(c - r) * count for c, r, count in points) / total if total else float("nan")


def _floats(values: Sequence[float]) -> Floats:
    x = np.asarray(values, dtype=float)
    if x.ndim != 1 or len(x) == 0:
        raise ValueError("statistics need at least one value")
    return x


def _right_wrong(values: Floats) -> bool:
    return bool(np.isin(values, (0.0, 1.0)).all())


def _standard_error(values: Floats) -> float:
    """Sample standard deviation / sqrt(n), as lm-eval's mean_stderr; nan for one value."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")
