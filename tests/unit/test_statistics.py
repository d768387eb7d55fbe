"""The statistics against direct computation on made-up data, and their coverage by simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from cosd_eval.analysis import statistics as st


def test_wilson_interval_by_its_formula() -> None:
    n, right, z = 40, 13, 1.959963984540054
    p = right / n
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    got = st.score_interval([1.0] * right + [0.0] * (n - right))
    assert got.how == "wilson"
    assert (got.low, got.high) == pytest.approx((middle - half, middle + half), abs=1e-12)
    assert got.stderr == pytest.approx(math.sqrt(p * (1 - p) / (n - 1)))


def test_bootstrap_standard_error_nears_the_exact_one() -> None:
    values = np.random.default_rng(0).normal(size=80)
    got = st.bootstrap_mean(*st.by_group(values, None), resamples=20_000)
    assert got.mean == pytest.approx(values.mean())
    assert got.stderr == pytest.approx(values.std(ddof=1) / math.sqrt(80), rel=0.03)


def test_clusters_widen_the_interval_of_like_documents() -> None:
    groups = [g for g in "abcdefgh" for _ in range(25)]
    values = [float(g in "aceg") for g in groups]  # all documents of a group alike: eight observations, not 200
    clustered, alone = st.score_interval(values, groups), st.score_interval(values)
    assert clustered.how == "bootstrap" and alone.how == "wilson"
    assert clustered.high - clustered.low > 4 * (alone.high - alone.low)
    # eight cluster means of 0 and 1: the exact standard error of their mean
    assert clustered.stderr == pytest.approx(math.sqrt(0.25 / 8 * 8 / 7), rel=0.05)


def test_few_groups_are_taken_as_fixed() -> None:
    sums, sizes = st.by_group(np.array([1.0, 0.0, 1.0]), ["a", "b", "b"])
    assert sums.tolist() == [1, 0, 1] and sizes.tolist() == [1, 1, 1]


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (4, 1), (9, 2), (0, 6), (30, 30)])
def test_mcnemar_is_the_binomial_test_of_the_discordant_documents(gained: int, lost: int) -> None:
    expected = 1.0 if gained + lost == 0 else stats.binomtest(min(gained, lost), gained + lost, 0.5).pvalue
    assert st.mcnemar_exact(gained, lost) == pytest.approx(expected)


def test_holm_by_hand() -> None:
    assert st.holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])  # 3·0.01; 2·0.03; max(0.06, 1·0.04)
    assert st.holm([]) == []


def test_paired_right_wrong_by_hand() -> None:
    first, second = [1, 1, 1, 0, 1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]
    got = st.compare(first, second)
    assert (got.n, got.only_first, got.only_second) == (10, 4, 1)
    assert got.difference.mean == pytest.approx(0.3)
    assert got.p == got.mcnemar == pytest.approx(2 * 6 / 32)
    assert got.difference.how == "bonett-price"  # five discordant documents
    up, down = 5 / 12, 2 / 12
    half = 1.959964 * math.sqrt((up + down - (up - down) ** 2) / 12)
    assert (got.difference.low, got.difference.high) == pytest.approx((up - down - half, up - down + half), abs=1e-5)


def test_identical_methods_are_not_told_apart_and_not_said_to_be_equal() -> None:
    got = st.compare([1, 0] * 25, [1, 0] * 25)
    assert got.p == 1 and got.difference.mean == 0
    assert got.difference.low < 0 < got.difference.high


def test_graded_scores_use_the_bootstrap() -> None:
    rng = np.random.default_rng(3)
    second = rng.uniform(size=60)
    first = np.clip(second + rng.normal(0.1, 0.05, size=60), 0, 1)
    got = st.compare(first.tolist(), second.tolist())
    assert got.mcnemar is None and got.difference.how == "bootstrap"
    assert got.p == pytest.approx(stats.ttest_rel(first, second).pvalue, abs=1e-9)
    assert 0.05 < got.difference.low < got.difference.high < 0.15


def test_detectable_difference_is_found_with_the_stated_power() -> None:
    rng = np.random.default_rng(4)
    seen = st.bootstrap_mean(*st.by_group(rng.normal(size=60), None))
    detectable = st.detectable_difference(seen, 60)
    assert detectable is not None
    spread = seen.stderr * math.sqrt(60)
    found = [stats.ttest_1samp(rng.normal(detectable, spread, size=60), 0).pvalue < 0.05 for _ in range(2000)]
    assert np.mean(found) == pytest.approx(0.8, abs=0.03)


def test_a_hundred_documents_detect_no_small_difference() -> None:
    rng = np.random.default_rng(5)
    first, second = rng.integers(0, 2, size=(2, 100)).tolist()
    got = st.compare(first, second)
    assert got.detectable is not None and got.detectable > 0.15
    rare = st.compare([1.0] * 99 + [0.0], [1.0] * 100)
    assert rare.detectable is not None and rare.detectable >= 0.06  # six discordant documents at least


@pytest.mark.parametrize(("only_first", "only_second", "n"), [(0.12, 0.05, 50), (0.03, 0.0, 50), (0.1, 0.1, 100)])
def test_coverage_of_paired_differences(only_first: float, only_second: float, n: int) -> None:
    rng = np.random.default_rng(6)
    covered = []
    for _ in range(250):
        kind = rng.choice(3, p=[only_first, only_second, 1 - only_first - only_second], size=n)
        got = st.compare((kind == 0).astype(float).tolist(), (kind == 1).astype(float).tolist()).difference
        covered.append(got.low <= only_first - only_second <= got.high)
    assert 0.915 <= np.mean(covered) <= 1


@pytest.mark.parametrize("count", [6, 12, 57])
def test_coverage_with_clusters(count: int) -> None:
    rng = np.random.default_rng(7)
    covered = []
    for _ in range(250):
        sizes = rng.integers(10, 40, size=count)
        right = rng.binomial(sizes, np.clip(0.6 + rng.normal(0, 0.12, size=count), 0, 1)).astype(float)
        got = st.bootstrap_mean(right, sizes.astype(float), resamples=500)
        covered.append(got.low <= 0.6 <= got.high)
    assert 0.905 <= np.mean(covered) <= 0.985


def test_reliability_and_its_error_by_hand() -> None:
    points = st.reliability([0.05, 0.15, 0.15, 0.95, 1.0], [0, 0, 1, 1, 1])
    assert points == [(0.05, 0.0, 1), (0.15, 0.5, 2), (0.975, 1.0, 2)]
    assert st.calibration_error(points) == pytest.approx((0.05 + 2 * 0.35 + 2 * 0.025) / 5)


def test_no_documents_is_our_mistake() -> None:
    with pytest.raises(ValueError, match="at least one"):
        st.score_interval([])
    with pytest.raises(ValueError, match="same documents"):
        st.compare([1.0], [1.0, 0.0])
