"""bench/pacing.py."""

import asyncio
import itertools
import time

import pytest

from bench.pacing import OpenLoop, moments


def test_even_moments() -> None:
    assert list(itertools.islice(moments(5.0, 4.0, poisson=False), 4)) == [5.0, 5.25, 5.5, 5.75]


def test_poisson_moments_have_the_rate_and_no_rhythm() -> None:
    found = list(itertools.islice(moments(0.0, 100.0, poisson=True), 20_001))
    gaps = [later - earlier for earlier, later in itertools.pairwise(found)]
    assert min(gaps) >= 0
    mean = sum(gaps) / len(gaps)
    assert mean == pytest.approx(0.01, rel=0.05)  # 7 standard deviations of the mean
    spread = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert spread == pytest.approx(0.01, rel=0.1)  # an exponential's deviation is its mean


async def test_every_moment_is_acted_on_in_order_and_none_early() -> None:
    acted: list[tuple[float, float]] = []
    start = time.monotonic()
    loop = OpenLoop(500.0, lambda moment: acted.append((moment, time.monotonic())), poisson=False)
    async with asyncio.timeout(20):
        while len(acted) < 50:
            await asyncio.sleep(0.01)
    loop.stop()
    count = len(acted)
    await asyncio.sleep(0.05)
    assert len(acted) == count == len(loop.late)
    due = [moment for moment, _ in acted]
    assert due == pytest.approx([due[0] + n / 500 for n in range(count)])
    assert due[0] >= start
    assert all(now >= moment for moment, now in acted)


async def test_a_stall_is_made_up_for_and_counts_as_lateness() -> None:
    acted: list[float] = []
    loop = OpenLoop(1000.0, acted.append, poisson=False)
    time.sleep(0.2)  # the generator itself is held up
    await asyncio.sleep(0.05)
    loop.stop()
    assert len(acted) >= 200
    assert max(loop.late) >= 0.19
