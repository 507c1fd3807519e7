"""`/livez` and `/readyz`: whether the process runs, and whether it can do its work."""

import logging

import redis
from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from whispr.kernel import database
from whispr.kernel.errors import WhisprError
from whispr.kernel.limits import LIMITS

log = logging.getLogger(__name__)
_NO_STORE = {"Cache-Control": "no-store"}
_migrated = False


@require_safe
def livez(request: HttpRequest) -> JsonResponse:
    """200 as long as the process answers: nothing else is asked, so that an outage elsewhere restarts nobody."""
    return JsonResponse({"status": "ok"}, headers=_NO_STORE)


@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """200 where the database answers and has all migrations; 503 else. Redis is reported: without it we are slower."""
    try:
        state = database.call(_database_state)
    except WhisprError as error:
        state = error.code
    ready = state == "ok"
    body = {"status": "ok" if ready else "unavailable", "database": state, "redis": _redis_state()}
    return JsonResponse(body, status=200 if ready else 503, headers=_NO_STORE)


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
