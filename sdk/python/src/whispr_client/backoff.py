"""How long to wait before the next try (specification §5.2): 1, 2, 4, 8, 16 seconds, with jitter."""

import random

TRIES = 5
STEPS = (1.0, 2.0, 4.0, 8.0, 16.0)  # seconds
PARKED = 60.0  # seconds between the tries of what is parked, should the connection never break
# A connection is tried for ever, and sooner at first: a restart of the server takes seconds.
CONNECT_FIRST = 0.25
CONNECT_MAX = 15.0


def retry_delay(tries: int, retry_after: float | None = None) -> float:
    """Seconds before the next try after `tries` (from 1) of them: what the server says wins over the steps.

    Up to a quarter more, so that clients that failed together do not come back together.
    """
    step = STEPS[tries - 1] if tries <= len(STEPS) else PARKED
    base = step if retry_after is None else retry_after
    return base * random.uniform(1.0, 1.25)


def connect_delay(tries: int) -> float:
    """Seconds before the next connection after `tries` (from 1) that failed in a row: drawn from a doubling range."""
    return random.uniform(0.5, 1.0) * min(CONNECT_MAX, CONNECT_FIRST * 2.0 ** min(tries, 10))
