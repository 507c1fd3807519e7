"""`/metrics` of this process on its own port, with what waits in PostgreSQL measured when it is asked for."""

import logging
import time

from django.conf import settings
from prometheus_client import start_http_server

from delivery.services.backlog import list_backlog
from whispr.kernel import telemetry
from whispr.kernel.errors import WhisprError

log = logging.getLogger(__name__)
# Several scrapers, or one that is impatient, cost one measurement.
FRESH_SECONDS = 5.0
_measured_at = float("-inf")
_serving = False


def metrics_serve() -> None:
    """Serve /metrics on WHISPR_METRICS_HOST:WHISPR_METRICS_PORT, once a process; not where the port is 0.

    A port that is taken is an error in the log, not the end of the process: serving people goes before counting them.
    """
    global _serving
    if _serving or not settings.WHISPR_METRICS_PORT:
        return
    telemetry.before_scrape.append(measure)
    try:
        start_http_server(settings.WHISPR_METRICS_PORT, addr=settings.WHISPR_METRICS_HOST)
    except OSError as error:
        log.error("No /metrics on port %d: %s", settings.WHISPR_METRICS_PORT, error)
        return
    _serving = True


def measure() -> None:
    """Set the gauges of what waits, at most every FRESH_SECONDS; where the database is away they stay as they were."""
    global _measured_at
    if time.monotonic() - _measured_at < FRESH_SECONDS:
        return
    _measured_at = time.monotonic()
    try:
        backlog = list_backlog()
    except WhisprError as error:
        log.info("What waits was not measured: %s", error.code)
        return
    for name, (rows, seconds) in backlog.waiting.items():
        telemetry.backlog_rows.labels(name).set(rows)
        telemetry.backlog_seconds.labels(name).set(seconds)
    telemetry.dead_letters.clear()
    for kind, count in backlog.dead_letters.items():
        telemetry.dead_letters.labels(kind).set(count)
    telemetry.reconcile_found.clear()
    for check, count in backlog.reconcile_found.items():
        telemetry.reconcile_found.labels(check).set(count)
    if backlog.reconcile_age is not None:
        telemetry.reconcile_age.set(backlog.reconcile_age)
