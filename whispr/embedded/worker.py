"""What the local run's Celery worker does beyond Celery; loaded by it with `-I`.

Its embedded beat is a child of its own, which nothing would end when the worker is killed; and the supervisor wants to
know when the worker takes work.
"""

import os
from pathlib import Path

from celery.signals import beat_embedded_init, worker_ready

from whispr.embedded.process import die_with_parent

_worker = os.getpid()  # this module is loaded before the worker forks its beat


@beat_embedded_init.connect(weak=False)
def end_beat_with_worker(**_: object) -> None:
    """In the process of the embedded beat: be killed when the worker is gone, and end if it is gone already."""
    die_with_parent()
    if os.getppid() != _worker:
        os._exit(1)


@worker_ready.connect(weak=False)
def tell_ready(**_: object) -> None:
    """Touch the file that the supervisor looks for."""
    if path := os.environ.get("WHISPR_WORKER_READY_FILE"):
        Path(path).touch()
