"""Whether this process was asked to end: long work in rounds (Celery tasks) then stops after its round.

What is left is found by the next run in PostgreSQL, so nobody waits for it.
"""

import threading

_stopping = threading.Event()


def stop() -> None:
    """From now on `is_stopping()`."""
    _stopping.set()


def is_stopping() -> bool:
    """Whether the process ends. Any thread may ask."""
    return _stopping.is_set()


def reset() -> None:
    """For tests, whose process goes on after a worker of theirs ended."""
    _stopping.clear()
