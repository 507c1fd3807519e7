"""Which queue each task goes to, and who takes from it."""

import pytest
from celery.app.routes import Router

from whispr.celery import app
from whispr.embedded import processes


def test_every_task_of_ours_has_a_queue_that_a_worker_takes_from() -> None:
    app.loader.import_default_modules()
    ours = {name for name in app.tasks if not name.startswith("celery.")}
    assert ours
    router: Router = app.amqp.router
    queues = {name: router.route({}, name)["queue"].name for name in ours}
    assert set(queues.values()) <= set(processes.QUEUES)
    assert queues["messaging.tasks.expire_messages"] == "expiry"
    assert queues["messaging.tasks.send_due_scheduled"] == "scheduled"
    assert queues["messaging.tasks.settle_media_links"] == "recovery"
    assert queues["messaging.tasks.purge_send_keys"] == "maintenance"
    assert queues["delivery.tasks.send_pushes"] == "push"
    assert queues["delivery.tasks.purge_pushes"] == "maintenance"


def test_a_worker_takes_from_all_queues_or_from_those_that_it_is_told() -> None:
    def queues(command: list[str]) -> str:
        return command[command.index("-Q") + 1]

    assert queues(processes.worker(beat=True)) == ",".join(processes.QUEUES)
    assert queues(processes.deployed("worker", {})) == ",".join(processes.QUEUES)
    assert queues(processes.deployed("worker", {"WHISPR_WORKER_QUEUES": "push, expiry"})) == "push,expiry"
    with pytest.raises(ValueError, match="push, expiry, scheduled, recovery, maintenance"):
        processes.deployed("worker", {"WHISPR_WORKER_QUEUES": "push,cake"})


def test_the_engine_is_set_up_to_lose_nothing() -> None:
    conf = app.conf
    assert conf.task_acks_late
    assert conf.task_reject_on_worker_lost
    assert conf.worker_prefetch_multiplier == 1
    assert conf.task_ignore_result
    assert conf.result_backend is None
    assert conf.broker_connection_max_retries is None
    assert 0 < conf.task_soft_time_limit < conf.task_time_limit < conf.broker_transport_options["visibility_timeout"]
    assert conf.broker_transport_options["socket_timeout"] <= 10
