"""The small statistics of a month against known values, enumeration and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from api.services.month.statistics import (
    Moments,
    benjamini_hochberg,
    log_normal_mean,
    mantel_haenszel,
    ratio_within,
    wilson,
)


def test_wilson_agrees_with_the_published_example() -> None:
    # Newcombe 1998, Statistics in Medicine 17:857, method 3.
    for hits, cases, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
    ):
        assert wilson(hits, cases) == pytest.approx((low, high), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)
    assert all(wilson(0, cases)[0] == 0.0 and wilson(cases, cases)[1] == 1.0 for cases in range(1, 400))


@given(st.integers(0, 40), st.integers(1, 40), st.integers(0, 40), st.integers(1, 40))
def test_one_stratum_is_the_exact_test_or_close_to_it(x: int, n: int, y: int, m: int) -> None:
    x, y = min(x, n), min(y, m)
    found = mantel_haenszel([(x, n, y, m)])
    spread = stats.hypergeom(n + m, x + y, n)
    exact = min(1.0, 2 * min(spread.cdf(x), spread.sf(x - 1)))
    assert found.expected == pytest.approx(n * y / m)
    if found.p < 0.1:
        assert found.p == pytest.approx(exact, abs=0.02)
    assert 0 <= found.p <= 1


def test_a_difference_between_strata_is_none_within_them() -> None:
    """The unit treats the sicker stratum: a crude comparison would accuse it."""
    found = mantel_haenszel([(80, 100, 8, 10), (1, 10, 10, 100)])
    assert found.hits == pytest.approx(found.expected)
    assert found.p > 0.5


def test_strata_without_others_say_nothing() -> None:
    found = mantel_haenszel([(30, 30, 0, 0), (5, 10, 50, 100)])
    assert (found.cases, found.others, found.hits) == (10, 100, 5)


def moments(values: list[float]) -> Moments:
    found = Moments()
    for value in values:
        found = found.plus(value)
    return found


def test_the_ratio_within_one_stratum_is_the_t_test() -> None:
    rng = np.random.default_rng(3)
    own, others = rng.normal(0.2, 0.5, 40), rng.normal(0, 0.5, 60)
    found = ratio_within([(moments(list(own)), moments(list(others)))])
    known = stats.ttest_ind(own, others)
    assert found is not None
    assert found.p == pytest.approx(known.pvalue, rel=1e-6)
    interval = known.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((math.exp(interval.low), math.exp(interval.high)))


def test_nothing_to_compare_gives_no_ratio() -> None:
    assert ratio_within([(moments([1.0]), Moments())]) is None
    assert ratio_within([(moments([1.0]), moments([1.0]))]) is None
    assert ratio_within([(moments([1.0, 1.0]), moments([1.0, 1.0]))]) is None


def test_the_interval_of_a_log_normal_mean_covers_it() -> None:
    rng = np.random.default_rng(4)
    truth = math.exp(0.5 * 0.8**2)
    covered = 0
    for _ in range(400):
        interval = log_normal_mean(moments(list(rng.normal(0, 0.8, 25))))
        assert interval is not None
        covered += interval[0] <= truth <= interval[1]
    assert 0.91 <= covered / 400 <= 0.99
    assert log_normal_mean(moments([1.0])) is None


@settings(max_examples=50)
@given(st.lists(st.floats(0, 1), max_size=60))
def test_the_correction_agrees_with_scipy(values: list[float]) -> None:
    found = benjamini_hochberg(values)
    known = stats.false_discovery_control(values) if values else []
    assert found == pytest.approx(list(known))
