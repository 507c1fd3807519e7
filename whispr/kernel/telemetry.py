"""The names of all metrics, in one place, served by /metrics on its own port."""

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.001, 0.002, 0.004, 0.008, 0.015, 0.03, 0.06, 0.125, 0.25, 0.5, 1, 2, 4, 8)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)

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
rest_requests = Counter("whispr_rest_requests", "REST requests", ["method", "route", "status"])
redis_up = Gauge("whispr_redis_up", "1 while Redis answers in time, by what it is used for", ["use"])
quota_refused = Counter("whispr_quota_refused", "Requests over their rate", ["kind"])
quota_local = Counter("whispr_quota_local", "Sends counted by one process alone, because Redis was away")
presences = Gauge("whispr_presences", "Sockets that this process shows as present in conversations")
scheduled = Counter("whispr_scheduled", "Scheduled messages that left the state scheduled", ["state"])
trace_dropped = Counter("whispr_trace_dropped", "Steps of traces that were not kept, because too many waited")
