"""bench/latency.py."""

import math

import pytest

from bench.latency import median, percentile, spread


@pytest.mark.parametrize(
    ("values", "fraction", "expected"),
    [
        ([7.0], 0.5, 7.0),
        ([7.0], 1.0, 7.0),
        ([1.0, 2.0], 0.5, 1.0),
        ([1.0, 2.0], 0.51, 2.0),
        ([1.0, 2.0, 3.0], 0.5, 2.0),
        (list(range(1, 101)), 0.5, 50),
        (list(range(1, 101)), 0.95, 95),  # 0.95 * 100 is a little more than 95 in binary
        (list(range(1, 101)), 0.99, 99),
        (list(range(1, 102)), 0.99, 100),
        (list(range(1, 101)), 1.0, 100),
        (list(range(1, 1001)), 0.07, 70),  # 0.07 * 1000 is a little more than 70 in binary
    ],
)
def test_percentile_is_the_nearest_rank(values: list[float], fraction: float, expected: float) -> None:
    assert percentile(values, fraction) == expected


@pytest.mark.parametrize("fraction", [0, -0.1, 1.01])
def test_percentile_refuses_other_fractions(fraction: float) -> None:
    with pytest.raises(ValueError, match="fraction"):
        percentile([1.0], fraction)


def test_there_is_no_percentile_of_nothing() -> None:
    with pytest.raises(ValueError, match="nothing"):
        percentile([], 0.5)


def test_spread_is_in_milliseconds_and_does_not_need_order() -> None:
    found = spread([n / 1000 for n in range(200, 0, -1)])
    assert found.number == 200
    assert (found.p50, found.p95, found.p99, found.highest) == pytest.approx((100, 190, 198, 200))


def test_spread_of_nothing_is_not_a_number_rather_than_zero() -> None:
    found = spread([])
    assert found.number == 0
    assert all(math.isnan(value) for value in found[1:])


@pytest.mark.parametrize(("values", "expected"), [([3.0, 1.0, 2.0], 2.0), ([4.0, 1.0, 3.0, 2.0], 2.5), ([5.0], 5.0)])
def test_median(values: list[float], expected: float) -> None:
    assert median(values) == expected
