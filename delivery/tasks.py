"""The work of delivery that is not a request: thin tasks, each the call of one service (`messaging/tasks.py`)."""

from celery import shared_task

from delivery.services import dead_letters, push
from delivery.services import reconcile as reconciliation
from messaging.tasks import run_service


@shared_task(name="delivery.tasks.purge_dead_letters")
def purge_dead_letters() -> int:
    """Delete the dead letters that were decided on long ago; how many."""
    return run_service(dead_letters.dead_letters_purge)


@shared_task(name="delivery.tasks.send_pushes")
def send_pushes() -> int:
    """Tell those who are away; how many users and conversations were looked at."""
    return run_service(push.pushes_send)


@shared_task(name="delivery.tasks.purge_pushes")
def purge_pushes() -> int:
    """Delete what of pushes says nothing any more; how many users and conversations."""
    return run_service(push.pushes_purge)


@shared_task(name="delivery.tasks.reconcile")
def reconcile() -> int:
    """Go on with the day's reconciliation; how many entries were looked at."""
    return run_service(reconciliation.reconcile_scheduled)
