"""`/livez` and `/readyz`: whether the process runs, and whether it can do its work."""

import logging
from typing import Any

import redis
from asgiref.sync import async_to_sync
from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from messaging.services.service_state import announcers
from messaging.store.recovery import QueueNotDurable, pending_check
from whispr.kernel import database
from whispr.kernel.breaker import breakers
from whispr.kernel.errors import WhisprError
from whispr.kernel.limits import LIMITS
from whispr.kernel.redis import RedisAway

log = logging.getLogger(__name__)
_NO_STORE = {"Cache-Control": "no-store"}
_migrated = False


@require_safe
def livez(request: HttpRequest) -> JsonResponse:
    """200 as long as the process answers: nothing else is asked, so that an outage elsewhere restarts nobody."""
    return JsonResponse({"status": "ok"}, headers=_NO_STORE)


@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """200 where the database answers and has all migrations, and, as `degraded`, where it is away and sends can wait
    for it in the recovery queue; 503 else. Redis and the circuits are reported, and what clients are told is lost:
    without them less works, or slower."""
    away = False
    try:
        state = database.call(_database_state)
    except WhisprError as error:
        state, away = error.code, True
    body: dict[str, Any] = {
        "status": "ok" if state == "ok" else "unavailable",
        "database": state,
        "redis": _redis_state(),
        "circuits": {name: circuit.state for name, circuit in breakers().items()},
        "lost": async_to_sync(_lost)(),
    }
    if away:
        queue = async_to_sync(_queue_state)()
        body |= {"status": "degraded" if queue == "ok" else "unavailable", "recoveryQueue": queue}
    elif state == "ok" and (body["lost"] or any(circuit != "closed" for circuit in body["circuits"].values())):
        body["status"] = "degraded"
    return JsonResponse(body, status=503 if body["status"] == "unavailable" else 200, headers=_NO_STORE)


async def _lost() -> list[str]:
    """What `service_state` tells the sockets of this process: no circuit says that a database takes no writes."""
    announcer = announcers.peek()
    return [] if announcer is None else list(announcer.state.lost)


async def _queue_state() -> str:
    """Whether sends can wait in Redis, and why not."""
    try:
        await pending_check()
    except QueueNotDurable as error:
        return str(error)
    except RedisAway:
        return "unavailable"
    return "ok"


def _database_state() -> str:
    global _migrated
    connection.ensure_connection()
    if not connection.is_usable():
        return "unavailable"
    if not _migrated:  # once applied, they stay: reading them costs tens of milliseconds
        executor = MigrationExecutor(connection)
        targets = executor.loader.graph.leaf_nodes()
        if executor.migration_plan(targets):
            return "migrations_missing"
        _migrated = True
    return "ok"


def _redis_state() -> str:
    seconds = LIMITS.redis_timeout_ms / 1000
    url = settings.REDIS_URL or "redis://127.0.0.1:6379/0"
    client = redis.Redis.from_url(url, socket_connect_timeout=seconds, socket_timeout=seconds)
    try:
        client.ping()
    except redis.RedisError as error:
        log.warning("Redis does not answer: %s", type(error).__name__)
        return "unavailable"
    finally:
        client.close()
    return "ok"
