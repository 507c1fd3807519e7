"""Which kinds of requests are refused when, and that they are let in again."""

import pytest

from whispr.kernel import overload
from whispr.kernel.errors import Overloaded
from whispr.kernel.limits import LIMITS
from whispr.kernel.overload import KINDS, Watch, access_load, level_of, load_level

LATE = LIMITS.shed_lag_ms / 1000


@pytest.mark.parametrize(
    ("lag", "fullness", "level"),
    [
        (0.0, 0.0, 0),
        (LATE * 0.99, 0.49, 0),
        (LATE, 0.0, 1),
        (LATE * 2, 0.0, 2),
        (LATE * 4, 0.0, 3),
        (LATE * 8, 0.0, 4),
        (LATE * 100, 1.0, 4),
        (0.0, 0.50, 1),
        (0.0, 0.66, 2),
        (0.0, 0.81, 3),
        (0.0, 0.96, 4),
        (LATE * 4, 0.50, 3),
    ],
)
def test_the_level_follows_the_worse_of_both(lag, fullness, level):
    assert level_of(lag, fullness) == level


def test_sends_are_refused_before_reading_and_acknowledgements_never():
    assert KINDS == ("passing", "changing", "sending", "reading")


async def test_what_matters_least_is_refused_first_and_let_in_last(monkeypatch):
    watch = Watch()
    full = 0.0
    monkeypatch.setattr(overload, "queues", [lambda: full])
    try:
        for level, percent in enumerate((0, 50, 66, 81, 96)):
            full = percent / 100
            watch.look(0.0)
            assert refused() == KINDS[:level]
        full = 0.0
        for level in (3, 2, 1, 0, 0):
            watch.look(0.0)
            assert refused() == KINDS[:level]
    finally:
        watch._task.cancel()


def refused() -> tuple[str, ...]:
    found = []
    for kind in KINDS:
        try:
            access_load(kind)
        except Overloaded as error:
            found.append((kind, error.retry_after))
    assert all(load_level() <= seconds <= load_level() * overload.SPREAD for _, seconds in found)
    return tuple(kind for kind, _ in found)


async def test_one_late_moment_is_no_overload_and_a_loop_that_stays_late_is():
    watch = Watch()
    try:
        watch.look(10.0)
        assert load_level() == 0
        watch.look(0.0)
        assert load_level() == 0
        watch.look(10.0)
        watch.look(10.0)
        assert load_level() == len(KINDS)
        for _ in KINDS:
            watch.look(0.0)
        assert load_level() == 0
    finally:
        watch._task.cancel()
