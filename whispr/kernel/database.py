"""The way from the event loop to synchronous database code, and from PostgreSQL's errors to ours.

Store functions are plain synchronous code on Django's own connection. `run()` carries one to a thread of a bounded pool
(never Django's single thread-sensitive thread: there a query of 3 s holds up every other socket for 3 s).
"""

import asyncio
import functools
import logging
import os
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

import psycopg
import psycopg_pool
from django.db import DatabaseError as DjangoDatabaseError
from django.db import InterfaceError as DjangoInterfaceError
from django.db import connection, transaction
from psycopg import errors as pg

from whispr.kernel.errors import Overloaded, TemporaryUnavailable, Timeout
from whispr.kernel.limits import LIMITS

P = ParamSpec("P")
T = TypeVar("T")
log = logging.getLogger(__name__)

# Reads and rare writes of one process at a time; the commit lanes have threads of their own. Beyond that, calls wait.
THREADS = int(os.environ.get("WHISPR_DB_THREADS", "8"))
# Calls that may wait for a thread: at 2 ms each, 1,024 waiting are 250 ms of delay on 8 threads.
WAITING_MAX = 1_024
# Deadlock and serialization failures end a transaction that is safe to run again (40P01, 40001).
RETRIES = 3
_RETRYABLE = (pg.DeadlockDetected, pg.SerializationFailure)

_threads = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="db")
_waiting = 0
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

    TemporaryUnavailable where nothing can have happened, Timeout where the outcome may be unknown. Errors that are
    neither (a constraint, bad data) pass unchanged: they are for the caller, or faults of ours.
    """
    try:
        yield
    except psycopg_pool.PoolTimeout as error:
        raise TemporaryUnavailable("No database connection was free in time.", retry_after=2.0) from error
    except (DjangoDatabaseError, DjangoInterfaceError, psycopg.Error) as error:
        cause = postgres_error(error)
        if isinstance(cause, psycopg_pool.PoolTimeout):
            raise TemporaryUnavailable("No database connection was free in time.", retry_after=2.0) from error
        if isinstance(cause, pg.LockNotAvailable | pg.DeadlockDetected | pg.SerializationFailure):
            raise TemporaryUnavailable("The row is busy.", retry_after=1.0) from error
        if isinstance(cause, pg.QueryCanceled):
            raise Timeout() from error
        if isinstance(cause, pg.ReadOnlySqlTransaction | pg.DiskFull | pg.TooManyConnections | pg.OutOfMemory):
            raise TemporaryUnavailable(retry_after=5.0) from error
        if isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError):
            raise TemporaryUnavailable(retry_after=5.0) from error
        raise


def _heal_pool(error: BaseException) -> None:
    """A broken connection is seldom alone (the server restarted): look at the idle ones before they fail one by one."""
    global _healed_at
    broken = isinstance(postgres_error(error), psycopg.OperationalError | psycopg.InterfaceError)
    if broken and connection.connection is not None and connection.connection.closed:
        if time.monotonic() - _healed_at < HEAL_SECONDS:
            return
        _healed_at = time.monotonic()
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
    return _attempt(function, *args, **kwargs)


def _attempt(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    with translated():
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
    try:
        with raw.pipeline():
            psycopg.Cursor(raw).execute("BEGIN")
            yield raw
            psycopg.Cursor(raw).execute("COMMIT")
    except BaseException:
        if not raw.closed:
            raw.rollback()
        raise


async def run(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """`call()` in a thread, without blocking the event loop.

    Raises Overloaded when too many calls wait, Timeout when there is no answer within `LIMITS.request_seconds`, and
    what `translated()` says.
    """
    global _waiting
    if _waiting >= WAITING_MAX:
        raise Overloaded("Too many queries wait.")
    _waiting += 1
    loop = asyncio.get_running_loop()
    work = loop.run_in_executor(_threads, functools.partial(call, function, *args, **kwargs))
    work.add_done_callback(_done)
    try:
        return await asyncio.wait_for(asyncio.shield(work), LIMITS.request_seconds)
    except TimeoutError:
        raise Timeout() from None


def _done(work: "asyncio.Future[T]") -> None:
    global _waiting
    _waiting -= 1
    if not work.cancelled():
        work.exception()  # retrieved here, so that an abandoned call is not reported as never awaited
