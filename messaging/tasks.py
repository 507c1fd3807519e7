"""The work that is not a request (docs/architecture.md): thin Celery tasks, each the call of one service.

PostgreSQL's rows are the truth: a task finds its work there and may run twice, at once, or not at all, with the same
result in the end. When each runs is in the tables of django-celery-beat, editable in the admin.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from celery import shared_task
from celery.signals import worker_process_shutdown, worker_ready, worker_shutdown

from delivery.services import trace
from integrations.circuits import watches
from messaging.fanout.bus import buses
from messaging.services import devices, expiry, media, scheduled, send, send_keys
from messaging.services.service_state import announcers
from whispr.kernel import task_loop
from whispr.kernel.failpoints import hit

T = TypeVar("T")
# Longer than any service works at one go (30 s), within CELERY_TASK_SOFT_TIME_LIMIT, which worker threads do not have.
TASK_SECONDS = 90.0


def run_service(service: Callable[[], Awaitable[T]]) -> T:
    """The service's result, from this process's event loop, once what it published is on the bus."""
    return task_loop.run(_drained(service), TASK_SECONDS)


async def _drained(service: Callable[[], Awaitable[T]]) -> T:
    try:
        announcers.get()
        hit(f"task.{service.__name__}.before_claim")
        result = await service()
        hit(f"task.{service.__name__}.after_effect")
        return result
    finally:
        bus = buses.peek()
        if bus is not None:
            await bus.drained()


@worker_ready.connect(weak=False)
def _watch_circuits(**_: object) -> None:
    task_loop.run(_start_watch(), 5.0)


async def _start_watch() -> None:
    watches.get().start()


@worker_shutdown.connect(weak=False)
@worker_process_shutdown.connect(weak=False)
def _close_loop(**_: object) -> None:
    task_loop.close()


@shared_task(name="messaging.tasks.send_due_scheduled")
def send_due_scheduled() -> int:
    """Send the scheduled messages whose time has come; how many were decided."""
    return run_service(scheduled.scheduled_send_due)


@shared_task(name="messaging.tasks.purge_scheduled")
def purge_scheduled() -> int:
    """Delete the rows of scheduled messages that were sent or failed long ago; how many."""
    return run_service(scheduled.scheduled_purge)


@shared_task(name="messaging.tasks.expire_messages")
def expire_messages() -> int:
    """Erase messages that expired; how many were due."""
    return run_service(expiry.messages_expire)


@shared_task(name="messaging.tasks.purge_traces")
def purge_traces() -> int:
    """Delete the steps of traces that are older than their retention; how many."""
    return run_service(trace.traces_purge)


@shared_task(name="messaging.tasks.purge_send_keys")
def purge_send_keys() -> int:
    """Delete the deduplication keys that are older than their retention; how many."""
    return run_service(send_keys.send_keys_purge)


@shared_task(name="messaging.tasks.settle_media_links")
def settle_media_links() -> int:
    """Tell the media service of links that it did not take at once, made or removed; of how many."""
    return run_service(media.media_links_settle)


@shared_task(name="messaging.tasks.sweep_media")
def sweep_media() -> int:
    """Remove the media of the built-in store that were never sent; how many."""
    return run_service(media.media_sweep)


@shared_task(name="messaging.tasks.recover_pending")
def recover_pending() -> int:
    """Append the sends that waited in Redis for the database; how many were decided."""
    return run_service(send.pending_recover)


@shared_task(name="messaging.tasks.expire_devices")
def expire_devices() -> int:
    """Forget what devices acknowledged that were away for too long; how many devices."""
    return run_service(devices.devices_expire)
