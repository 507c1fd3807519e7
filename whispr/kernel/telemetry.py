"""The names of all metrics, in one place, served by /metrics on its own port."""

from collections.abc import Callable, Iterable

from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

_SECONDS = (0.001, 0.002, 0.004, 0.008, 0.015, 0.03, 0.06, 0.125, 0.25, 0.5, 1, 2, 4, 8)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)

# Called at the beginning of each scrape: whoever has gauges that are measured, not counted.
before_scrape: list[Callable[[], None]] = []


class _BeforeScrape(Collector):
    """Registered before all metrics, so that it is asked first."""

    def collect(self) -> Iterable[Metric]:
        for measure in before_scrape:
            measure()
        return ()

    def describe(self) -> Iterable[Metric]:
        return ()


REGISTRY.register(_BeforeScrape())

batch_waiting = Gauge("whispr_batch_waiting", "Items that wait for a group commit", ["batch"])
batch_size = Histogram("whispr_batch_size", "Items taken together by a group commit", ["batch"], buckets=_SIZES)
batch_seconds = Histogram("whispr_batch_seconds", "Time of one group commit", ["batch"], buckets=_SECONDS)
batch_parked = Gauge("whispr_batch_parked_keys", "Keys that wait for a lock held elsewhere", ["batch"])

sockets = Gauge("whispr_sockets", "Open sockets")
socket_closes = Counter("whispr_socket_closes", "Sockets closed by the server", ["code"])
subscriptions = Gauge("whispr_subscriptions", "Subscriptions of sockets to conversations")
sends = Counter("whispr_sends", "Sends by outcome", ["outcome"])
entries_pushed = Counter("whispr_entries_pushed", "Log entries pushed to sockets", ["path"])
acks_ignored = Counter("whispr_acks_ignored", "Acknowledgements that changed nothing", ["why"])
log_repairs = Counter("whispr_log_repairs", "Gaps filled from the log", ["cause"])
bus_dropped = Counter("whispr_bus_dropped", "Batches that the doorbell did not take")
bus_up = Gauge("whispr_bus_up", "1 while the channel layer takes and gives messages")
log_dropped = Counter("whispr_log_dropped", "Lines of the log that were dropped, because nobody read it")
rest_requests = Counter("whispr_rest_requests", "REST requests", ["method", "route", "status"])
redis_up = Gauge("whispr_redis_up", "1 while Redis answers in time, by what it is used for", ["use"])
quota_refused = Counter("whispr_quota_refused", "Requests over their rate", ["kind"])
quota_local = Counter("whispr_quota_local", "Sends counted by one process alone, because Redis was away")
presences = Gauge("whispr_presences", "Sockets that this process shows as present in conversations")
scheduled = Counter("whispr_scheduled", "Scheduled messages that left the state scheduled", ["state"])
trace_dropped = Counter("whispr_trace_dropped", "Steps of traces that were not kept, because too many waited")
circuit_state = Gauge("whispr_circuit_state", "Circuit breakers: 0 closed, 1 half open, 2 open", ["name"])
circuit_openings = Counter("whispr_circuit_openings", "Times that a circuit breaker opened", ["name"])
service_calls = Counter("whispr_service_calls", "Calls of services by outcome", ["service", "method", "outcome"])
permissions_asked = Counter("whispr_permissions", "Permissions of sends by where they came from", ["source"])

tasks = Counter("whispr_tasks", "Runs of Celery tasks", ["task", "state"])
task_seconds = Histogram("whispr_task_seconds", "Time of a run of a Celery task", ["task"], buckets=_SECONDS)
backlog_rows = Gauge(
    "whispr_backlog_rows", "Rows whose time has come, counted to 1,000; the same in every process", ["work"]
)
backlog_seconds = Gauge("whispr_backlog_seconds", "How long the oldest of them is overdue", ["work"])
dead_letters = Gauge("whispr_dead_letters", "Dead letters that wait for staff", ["kind"])
reconciled = Counter("whispr_reconciled", "What reconciliations found and repaired", ["check", "outcome"])
reconcile_found = Gauge("whispr_reconcile_found", "What the last complete reconciliation found", ["check"])
reconcile_age = Gauge("whispr_reconcile_age_seconds", "Seconds since the last complete reconciliation")
pushes = Counter("whispr_pushes", "Pushes by kind and what became of them", ["kind", "outcome"])
push_invalid_tokens = Counter("whispr_push_invalid_tokens", "Push tokens that the service called dead")
push_seconds = Histogram(
    "whispr_push_seconds",
    "From the first message that waits to the push that was accepted",
    buckets=(1, 2, 4, 8, 15, 30, 60, 300, 900, 3600),
)

pending_waiting = Gauge("whispr_pending_waiting", "Sends in the recovery queue, as last seen here", ["priority"])
pending_drained = Counter("whispr_pending_drained", "Sends that left the recovery queue", ["outcome"])
load_level = Gauge("whispr_load_level", "Refused for load: 1 typing, 2 and changes, 3 and sends, 4 and reading")
shed = Counter("whispr_shed", "Requests refused for load", ["kind"])
detours = Gauge("whispr_detour_conversations", "Conversations whose sends go through the recovery queue")
