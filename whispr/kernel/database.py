"""The way from the event loop to synchronous database code, and from PostgreSQL's errors to ours.

Store functions are plain synchronous code on Django's own connection. `run()` carries one to a thread of a bounded pool
(never Django's single thread-sensitive thread: there a query of 3 s holds up every other socket for 3 s).
"""

import asyncio
import functools
import logging
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

import psycopg
import psycopg_pool
from django.db import DEFAULT_DB_ALIAS, connection, connections, transaction
from django.db import DatabaseError as DjangoDatabaseError
from django.db import InterfaceError as DjangoInterfaceError
from psycopg import errors as pg

from whispr.kernel.breaker import breaker
from whispr.kernel.environment import whole_number
from whispr.kernel.errors import (
    DatabaseAway,
    DatabaseReadOnly,
    DatabaseSlow,
    OutcomeUnknown,
    Overloaded,
    TemporaryUnavailable,
    Timeout,
)
from whispr.kernel.limits import LIMITS
from whispr.kernel.overload import queues

P = ParamSpec("P")
T = TypeVar("T")
log = logging.getLogger(__name__)

# Reads and rare writes of one process at a time; the commit lanes have threads of their own. Beyond that, calls wait.
THREADS = whole_number("WHISPR_DB_THREADS", 8, least=1)
# Calls that may wait for a thread: at 2 ms each, 1,024 waiting are 250 ms of delay on 8 threads.
WAITING_MAX = 1_024
# Deadlock and serialization failures end a transaction that is safe to run again (40P01, 40001).
RETRIES = 3
_RETRYABLE = (pg.DeadlockDetected, pg.SerializationFailure)
# After these the server is gone, or about to be: what it did with a commit that was on its way is not known.
_ENDING = (pg.AdminShutdown, pg.CrashShutdown, pg.CannotConnectNow, pg.IdleInTransactionSessionTimeout)
# So many statements in a row that were given up are an outage: the disk or the server hangs. One is a slow query.
SLOW_IN_A_ROW = 5
WATCH_SECONDS = 0.5

_threads = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="db")
_waiting = 0
_counting = threading.Lock()
_circuit = breaker("database")
_slow_in_a_row = 0
# The calls under way, by thread: since when, and on which connection.
_running: dict[int, tuple[float, Any]] = {}
_watcher: threading.Thread | None = None
HEAL_SECONDS = 0.5
# Off where event loops come and go, and their threads with them, as in tests: a connection dies with its thread.
KEEPS = True
_healed_at = 0.0


def postgres_error(error: BaseException) -> BaseException:
    """The psycopg error inside Django's wrapper, or `error` itself."""
    cause = error.__cause__
    return cause if isinstance(error, DjangoDatabaseError | DjangoInterfaceError) and cause is not None else error


@contextmanager
def translated() -> Iterator[None]:
    """Turn what PostgreSQL, the driver and the pool say of an outage into coded errors (specification §5.1).

    TemporaryUnavailable for a busy row. DatabaseAway (DatabaseReadOnly) where the database takes nothing: then nothing
    happened, if the
    call was one `pipelined()` transaction, and with `transaction.atomic()` unless it broke at the commit. DatabaseSlow
    where a statement was given up, OutcomeUnknown where the commit of `pipelined()` was on its way. Errors that are
    none of these (a constraint, bad data) pass unchanged: they are for the caller, or faults of ours.
    """
    try:
        yield
    except psycopg_pool.PoolTimeout as error:
        raise DatabaseAway("No database connection was free in time.", retry_after=2.0) from error
    except (DjangoDatabaseError, DjangoInterfaceError, psycopg.Error) as error:
        cause = postgres_error(error)
        if isinstance(cause, psycopg_pool.PoolTimeout):
            raise DatabaseAway("No database connection was free in time.", retry_after=2.0) from error
        if isinstance(cause, pg.LockNotAvailable | pg.DeadlockDetected | pg.SerializationFailure):
            raise TemporaryUnavailable("The row is busy.", retry_after=1.0) from error
        if isinstance(cause, pg.QueryCanceled):
            raise DatabaseSlow() from error
        if isinstance(cause, _BrokenCommit):
            raise OutcomeUnknown() from error
        if isinstance(cause, pg.ReadOnlySqlTransaction | pg.DiskFull):
            raise DatabaseReadOnly(retry_after=5.0) from error
        if isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError):
            raise DatabaseAway(retry_after=5.0) from error
        raise


class _BrokenCommit(psycopg.OperationalError):
    """The connection broke after COMMIT was sent, and before it was answered."""


def _heal_pool(error: BaseException) -> None:
    """A broken connection is seldom alone (the server restarted): look at the idle ones before they fail one by one."""
    global _healed_at
    broken = isinstance(postgres_error(error), psycopg.OperationalError | psycopg.InterfaceError)
    if broken and connection.connection is not None and connection.connection.closed:
        if time.monotonic() - _healed_at < HEAL_SECONDS:
            return
        _healed_at = time.monotonic()
        _check_pool()


def _check_pool() -> None:
    pool = getattr(connection, "pool", None)  # of Django's PostgreSQL backend
    if pool is not None:
        pool.check()


def call(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a store function on this thread: errors translated, deadlocks tried again, the connection given back.

    The function must be one transaction (or none): it is run again from its start.
    """
    try:
        return _attempt(function, *args, **kwargs)
    finally:
        if not connection.in_atomic_block:
            connection.close()


def call_keeping(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """`call()` for a thread that does nothing else, as those of the group commits: it keeps its connection until that
    fails. To give it back and take it again costs as much as the whole of a small batch (docs/decisions/0010).
    """
    if not KEEPS:
        return call(function, *args, **kwargs)
    kept = connection.connection is not None
    try:
        return _attempt(function, *args, **kwargs)
    except DatabaseReadOnly:
        raise
    except DatabaseAway:
        if not kept or _circuit.state != "closed":
            raise
    # It may have died while it was idle, as after a restart of the server: that is no outage yet.
    return _attempt(function, *args, **kwargs)


def refusal(message: str) -> DatabaseAway:
    """What to tell who needs the database while it is away, with the time until it is worth to ask again."""
    return DatabaseAway(message, retry_after=_circuit.retry_after or 5.0)


def fullness() -> float:
    """How full the queue of calls is that wait for a thread, from 0 to 1."""
    return _waiting / WAITING_MAX


queues.append(fullness)


def _access() -> int:
    try:
        return _circuit.access()
    except TemporaryUnavailable as error:
        raise DatabaseAway(retry_after=error.retry_after) from None


def _attempt(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """One call, if the circuit lets it through, and its outcome told to the circuit."""
    ticket = _access()
    if _watcher is None:
        _watch()
    thread = threading.get_ident()
    _running[thread] = (time.monotonic(), connections[DEFAULT_DB_ALIAS])
    try:
        with translated():
            result = _tries(function, *args, **kwargs)
    except DatabaseReadOnly:
        _circuit.success(ticket)  # it answers: what it still can do, reading, goes on
        raise
    except (DatabaseAway, OutcomeUnknown):
        _circuit.failure(ticket)
        raise
    except DatabaseSlow:
        _note_slow(ticket)
        raise
    except BaseException:  # it answered
        _circuit.success(ticket)
        raise
    finally:
        _running.pop(thread, None)
    if _slow_in_a_row:
        _note_quick()
    if _circuit.state != "closed":
        _check_pool()
    _circuit.success(ticket)
    return result


def _note_slow(ticket: int) -> None:
    """A statement was given up: one is a slow query, several with nothing in between are a database that hangs."""
    global _slow_in_a_row
    _slow_in_a_row += 1
    if _slow_in_a_row >= SLOW_IN_A_ROW or _circuit.state != "closed":
        _circuit.failure(ticket)
    else:
        _circuit.success(ticket)


def _note_quick() -> None:
    global _slow_in_a_row
    _slow_in_a_row = 0


def _tries(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    for attempt in range(RETRIES + 1):
        try:
            return function(*args, **kwargs)
        except (DjangoDatabaseError, DjangoInterfaceError, psycopg.Error) as error:
            _heal_pool(error)
            if not connection.in_atomic_block:
                connection.close()
            if attempt == RETRIES or not isinstance(postgres_error(error), _RETRYABLE):
                raise
            time.sleep(random.uniform(0.005, 0.02) * (attempt + 1))
    raise AssertionError("unreachable")


def _watch() -> None:
    """Begin to end calls that the database does not answer: a server that hangs breaks no connection by itself."""
    global _watcher
    watcher = _watcher = threading.Thread(target=_end_hung, name="db-watch", daemon=True)
    watcher.start()


def _forget_watcher() -> None:
    global _watcher
    _watcher = None
    _running.clear()


os.register_at_fork(after_in_child=_forget_watcher)


def _end_hung() -> None:
    ended: dict[int, float] = {}
    while True:
        time.sleep(WATCH_SECONDS)
        now = time.monotonic()
        for thread, (since, wrapper) in tuple(_running.items()):
            if now - since > LIMITS.database_call_seconds and ended.get(thread) != since:
                ended[thread] = since
                _disconnect(wrapper)


def _disconnect(wrapper: Any) -> None:
    """Shut the connection's socket down: whoever waits on it, in another thread, gets an error at once."""
    try:
        with socket.socket(fileno=os.dup(wrapper.connection.fileno())) as known:
            known.shutdown(socket.SHUT_RDWR)
    except (AttributeError, OSError, psycopg.Error):
        return  # it waits for something else, or was answered this moment
    log.warning("The database did not answer for %d s; the connection is ended", LIMITS.database_call_seconds)


@contextmanager
def pipelined() -> Iterator[psycopg.Connection[Any]]:
    """One transaction whose statements travel together: a wait only where a result is looked at, and one at the end.

    The group commits' batches are small at an ordinary load, and then it is the waits that cost: there were
    five, there are two (docs/decisions/0010). Inside another transaction it is a part of that one.
    Yields a connection whose cursors (`psycopg.Cursor`) have server-side binding; what a statement returns can be
    fetched after the end as well.
    """
    connection.ensure_connection()
    raw: psycopg.Connection[Any] = connection.connection
    if connection.in_atomic_block:
        with transaction.atomic():  # a savepoint
            yield raw
        return
    committing = False
    try:
        with raw.pipeline():
            psycopg.Cursor(raw).execute("BEGIN")
            yield raw
            committing = True
            psycopg.Cursor(raw).execute("COMMIT")
    except BaseException as error:
        if committing and isinstance(error, psycopg.Error) and (raw.closed or isinstance(error, _ENDING)):
            raise _BrokenCommit(str(error)) from error
        if not raw.closed:
            raw.rollback()
        raise


async def run(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """`call()` in a thread, without blocking the event loop.

    Raises DatabaseAway at once while the circuit is open, Overloaded when too many calls wait, Timeout when there is no
    answer within `LIMITS.request_seconds`, and what `translated()` says.
    """
    if _circuit.state == "open":
        raise DatabaseAway(retry_after=_circuit.retry_after)
    if _waiting >= WAITING_MAX:
        raise Overloaded("Too many queries wait.")
    _count(1)
    # Counted down by the thread, not by the loop: a command's or a task's loop may end before the call does.
    work = _threads.submit(_counted, functools.partial(call, function, *args, **kwargs))
    answer = asyncio.wrap_future(work)
    answer.add_done_callback(_retrieve)
    try:
        return await asyncio.wait_for(asyncio.shield(answer), LIMITS.request_seconds)
    except TimeoutError:
        raise Timeout() from None


def _counted(work: Callable[[], T]) -> T:
    try:
        return work()
    finally:
        _count(-1)


def _count(change: int) -> None:
    global _waiting
    with _counting:
        _waiting += change


def _retrieve(answer: "asyncio.Future[T]") -> None:
    """An abandoned call is not to be reported as never awaited."""
    if not answer.cancelled():
        answer.exception()
