"""Every limit in one place (docs/protocol.md "Limits"). Each is a setting `WHISPR_<NAME>`; 0 lifts a rate."""

import os
from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits in force. Sizes are bytes, times are seconds, rates are a minute."""

    # Sizes
    frame_bytes: int = 128 * 1024  # a socket frame or a request body
    content_bytes: int = 64 * 1024  # ciphertext of one message, decoded
    metadata_bytes: int = 4 * 1024  # metadata, as compact JSON
    metadata_depth: int = 8
    json_depth: int = 64  # of any frame or body: msgspec refuses about 1,000, long before that it is an attack
    emoji_bytes: int = 64
    signature_bytes: int = 64  # Ed25519
    media_id_bytes: int = 128
    media_bytes: int = 25 * 1024 * 1024  # one encrypted medium
    media_waiting_bytes: int = 512 * 1024 * 1024  # a user's media that no message carries yet; 0 lifts it
    media_user_bytes: int = 10 * 1024 * 1024 * 1024  # all media of a user; 0 lifts it
    name_bytes: int = 128  # a device's name, a role, a platform
    conversation_settings_bytes: int = 4 * 1024
    page_bytes: int = 1024 * 1024  # of content in one page of anything; at least one entry fits into each

    # Counts
    members_per_conversation: int = 1_000
    status_rows_max: int = 1_000  # above so many recipients the members' watermarks answer alone
    conversations_per_join: int = 10_000
    acks_per_request: int = 256  # conversations or messages acknowledged in one request
    page_max: int = 200
    page_default: int = 50
    devices_per_user: int = 50
    blocks_per_user: int = 10_000
    device_retention_days: int = 45  # a device that was away for longer begins anew; 0: never
    edit_versions: int = 10  # of a message, the original among them; older ones lose their content
    edits_per_message: int = 200
    reactions_per_user: int = 20  # different emoji of one user on one message
    reactions_per_message: int = 100  # different emoji on one message
    reaction_window_ms: int = 250  # a reaction switched on and off again within it is one change; 0: each is its own
    reaction_users_shown: int = 20  # user ids beside an emoji's count in history
    hidden_shown: int = 10_000  # messages deleted for oneself, as a synchronisation or a join lists them
    scheduled_per_user: int = 100  # that wait for their time or to be encrypted again
    drafts_per_user: int = 200
    login_failures: int = 10  # at the admin, of one address; then it waits

    # Rates (0 lifts one)
    sends_per_minute: int = 100
    acks_per_minute: int = 6_000
    typing_per_minute: int = 60
    reactions_per_minute: int = 120
    deletions_per_minute: int = 120

    # Times
    ttl_min_seconds: int = 1
    ttl_max_seconds: int = 4 * 7 * 24 * 3600
    unread_ttl_seconds: int = 7 * 24 * 3600  # after the send, a ttl that starts at the reading ends
    edit_window_seconds: int = 24 * 3600
    schedule_ahead_seconds: int = 366 * 24 * 3600
    dedup_retention: int = 30 * 24 * 3600
    trace_retention: int = 7 * 24 * 3600
    delivery_timeout_seconds: int = 30 * 24 * 3600  # what no device took by then has the status expired
    tries_max: int = 5  # of a row of background work that fails by its own fault; then it is a dead letter
    reconcile_interval_seconds: int = 24 * 3600  # from the beginning of one scheduled reconciliation to the next
    reconcile_repair: int = 1  # 0: the scheduled reconciliation only tells what it finds
    dead_letter_retention: int = 30 * 24 * 3600  # of dead letters that were requeued or discarded
    token_lifetime_max: int = 31 * 24 * 3600
    token_leeway: int = 30
    login_pause_seconds: int = 900  # of an address with too many failed logins at the admin
    token_warning_seconds: int = 60  # so long before a socket's token expires, it is told
    ticket_seconds: int = 30

    # The socket
    sockets_per_user: int = 20
    sockets_per_process: int = 20_000
    topics_per_socket: int = 100
    topic_inbox: int = 64  # events of one topic that wait for their turn; then the socket is not read
    socket_idle_seconds: int = 60  # phoenix.js sends a heartbeat every 30 s
    ping_seconds: int = 20  # between pings, and until their pong: the other end is missed within 40 s (uvicorn)
    handshake_seconds: int = 10
    window_entries: int = 256  # unacknowledged entries of one socket, then it is served from the log
    window_bytes: int = 1024 * 1024  # the same in bytes, and the bound of what waits to be written to a socket
    write_seconds: int = 20  # a socket that takes nothing for so long is closed with 4408

    # Waits
    hang_seconds: int = 30  # an event loop that stands still for so long ends its process (uvicorn); 0: never
    request_seconds: int = 9  # every request is answered within 10 s (docs/protocol.md §8.8)
    lock_timeout_ms: int = 2_000
    statement_timeout_ms: int = 4_000
    connect_seconds: int = 2
    pool_wait_seconds: int = 2
    database_call_seconds: int = 7  # a call that PostgreSQL did not answer by then loses its connection
    redis_timeout_ms: int = 250

    media_transfer_seconds: int = 120  # 25 MiB in 120 s are 218 KB/s

    # Pushes (docs/architecture.md "Pushes")
    push_grace_seconds: int = 3  # after the send, an online device may acknowledge before anybody is told
    push_window_seconds: int = 15  # one push a conversation and user within it; the next one carries the count
    push_lease_seconds: int = 30  # what a dispatcher claimed and did not settle is another's then
    push_attempts: int = 8  # refusals of a push by a service that works, 4 minutes in all; then it is a dead letter
    push_log_max: int = 10_000  # pushes that the built-in log keeps
    push_conversations: int = 500  # conversations for which a user may have preferences of their own

    # Other services
    service_send_ms: int = 300  # what a send waits for the user or the media service
    service_ms: int = 5_000  # what anything else waits for a service
    permission_seconds: int = 30  # how long a granted permission to send is kept; 0: every send asks
    permission_refused_seconds: int = 5  # how long a refusal is kept, and what is known here while the service is away
    permissions_max: int = 100_000  # kept by one process; 100,000 take about 60 MB

    # Circuit breakers
    circuit_failures: int = 5  # within the window and half of its calls or more, or in a row: the circuit opens
    circuit_window_seconds: int = 10
    circuit_pause_seconds: int = 1  # from an opening to its first probe; doubles with each probe that fails
    circuit_pause_max_seconds: int = 15  # after an outage everything works again within 30 s
    circuit_heal_seconds: int = 60  # closed for so long, the next pause is the first again
    circuit_probe_seconds: int = 10  # a probe that never reports is given up; every request ends sooner
    circuit_retry_seconds: int = 30  # what a refused client is told at the opening (specification §5.1)

    # Queues
    commit_waiting_max: int = 4_096  # entries that wait for the group commit of one process
    commit_batch_max: int = 256
    receipts_waiting_max: int = 16_384
    receipts_batch_max: int = 512
    bus_waiting_max: int = 2_048
    recovery_waiting_max: int = 100_000  # sends that wait in Redis for the database, of all processes
    recovery_waiting_bytes: int = 256 * 1024 * 1024  # the same in bytes
    shed_lag_ms: int = 500  # an event loop so late refuses typing signs; twice as late, changes, and so on; 0: never
    shed_queue_percent: int = 50  # the same of a queue so full; 15 percent more for each further kind; 0: never
    rest_running_max: int = 128  # REST requests of one process that run at once, a thread each
    media_transfers_max: int = 32  # media that one process takes in at once, and as many that it gives out


def load_limits() -> Limits:
    """The limits of the environment: `WHISPR_SENDS_PER_MINUTE=0`, `WHISPR_CONTENT_BYTES=…`.

    Raises ValueError, naming the variable, where a value is not a whole number ≥ 0.
    """
    values: dict[str, int] = {}
    for field in fields(Limits):
        name = f"WHISPR_{field.name.upper()}"
        text = os.environ.get(name)
        if text is None or text == "":
            continue
        if not text.strip().isdigit():
            raise ValueError(f"{name} must be a whole number, 0 or more, not {text!r}")
        values[field.name] = int(text)
    return Limits(**values)


# With 0 nothing passes, or a wait has no end (0 is "for ever" to PostgreSQL): `manage.py check` refuses it.
AT_LEAST_ONE = (
    *("frame_bytes", "content_bytes", "metadata_bytes", "json_depth", "signature_bytes", "page_bytes", "media_bytes"),
    *("members_per_conversation", "conversations_per_join", "acks_per_request", "page_max", "page_default"),
    *("devices_per_user", "edit_versions", "ttl_max_seconds", "schedule_ahead_seconds", "delivery_timeout_seconds"),
    *("tries_max", "reconcile_interval_seconds", "token_lifetime_max", "login_failures", "login_pause_seconds"),
    *("ticket_seconds", "sockets_per_user", "sockets_per_process", "topics_per_socket", "topic_inbox"),
    *("socket_idle_seconds", "ping_seconds", "handshake_seconds", "window_entries", "window_bytes", "write_seconds"),
    *("request_seconds", "lock_timeout_ms", "statement_timeout_ms", "connect_seconds", "pool_wait_seconds"),
    *("database_call_seconds", "redis_timeout_ms", "media_transfer_seconds", "push_lease_seconds", "push_attempts"),
    *("service_send_ms", "service_ms", "permissions_max", "circuit_failures", "circuit_window_seconds"),
    *("circuit_probe_seconds", "commit_waiting_max", "commit_batch_max", "receipts_waiting_max", "receipts_batch_max"),
    *("bus_waiting_max", "rest_running_max", "media_transfers_max"),
)

LIMITS = load_limits()
