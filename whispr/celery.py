"""The Celery application. Tasks sit beside the services that they call: `messaging/tasks.py`, `delivery/tasks.py`.

Which queue a task goes to is in the settings (CELERY_TASK_ROUTES); what a worker does when it begins and ends is here.
"""

import os
import time
from typing import Any

from celery import Celery
from celery.signals import task_postrun, task_prerun, worker_init, worker_process_shutdown, worker_shutting_down

from whispr.kernel import nudges, stopping, telemetry

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "whispr.settings")

app = Celery("whispr")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


def _run_soon(task: str) -> None:
    """Ask the workers to run a task: once, without patience; the beat asks again within seconds."""
    app.send_task(task, expires=10, retry=False)


nudges.register(_run_soon)

_began: dict[str, float] = {}  # by the id of a running task: as many as the worker has threads


@worker_init.connect(weak=False)
def _serve_metrics(**_: object) -> None:
    """A worker's /metrics: it has the ages of what waits in PostgreSQL, as every process has."""
    from whispr.metrics import metrics_serve

    metrics_serve()


@worker_shutting_down.connect(weak=False)
@worker_process_shutdown.connect(weak=False)
def _stop_rounds(**_: object) -> None:
    """The worker was asked to end: running tasks finish their round, and it ends within seconds."""
    stopping.stop()


@task_prerun.connect(weak=False)
def _task_began(task_id: str, **_: object) -> None:
    _began[task_id] = time.perf_counter()


@task_postrun.connect(weak=False)
def _task_ended(task_id: str, task: Any, state: str | None = None, **_: object) -> None:
    began = _began.pop(task_id, None)
    telemetry.tasks.labels(task.name, (state or "unknown").lower()).inc()
    if began is not None:
        telemetry.task_seconds.labels(task.name).observe(time.perf_counter() - began)
