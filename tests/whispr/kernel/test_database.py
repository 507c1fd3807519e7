"""From PostgreSQL's errors to ours, on a real PostgreSQL: locks, deadlocks, deadlines, a connection that dies."""

import asyncio
import threading
from dataclasses import replace
from uuid import uuid4

import psycopg
import pytest
from django.db import IntegrityError, connection, transaction

from messaging.models import Conversation
from whispr.kernel import database
from whispr.kernel.breaker import breaker
from whispr.kernel.errors import (
    DatabaseAway,
    DatabaseReadOnly,
    NotFound,
    OutcomeUnknown,
    Overloaded,
    TemporaryUnavailable,
    Timeout,
)
from whispr.kernel.limits import LIMITS

pytestmark = pytest.mark.django_db(transaction=True)
SECONDS = 10.0


def conversation_of() -> Conversation:
    return Conversation.objects.create(type="group", created_by=uuid4())


def other_session() -> psycopg.Connection:
    """A session beside Django's, as another process has it."""
    known = connection.settings_dict
    return psycopg.connect(
        host=known["HOST"], port=known["PORT"], user=known["USER"], password=known["PASSWORD"], dbname=known["NAME"]
    )


def execute(sql: str, *params: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)


def test_a_call_answers_what_the_function_answers():
    assert database.call(lambda a, *, b: (a, b), 1, b=2) == (1, 2)
    with pytest.raises(KeyError):
        database.call(lambda: {}["missing"])


def test_the_connection_goes_back_after_every_call():
    seen = set()

    def look() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            seen.add(cursor.fetchone())
        assert connection.connection is not None

    database.call(look)
    assert connection.connection is None
    with pytest.raises(IntegrityError):
        database.call(execute, "INSERT INTO log_epoch (id, epoch) VALUES (2, 'x')")
    assert connection.connection is None
    # More calls than the pool has connections, one after the other: each gives its own back.
    for _ in range(30):
        database.call(look)
    assert len(seen) <= 20


def test_a_locked_row_is_temporarily_unavailable():
    conversation = conversation_of()
    with other_session() as other:
        other.execute("SELECT 1 FROM conversations WHERE id = %s FOR UPDATE", [conversation.id])
        with pytest.raises(TemporaryUnavailable) as caught:
            database.call(execute, "SELECT 1 FROM conversations WHERE id = %s FOR UPDATE NOWAIT", conversation.id)
        assert caught.value.retry_after is not None
        with pytest.raises(TemporaryUnavailable):  # lock_timeout
            database.call(execute, "UPDATE conversations SET last_seq = 9 WHERE id = %s", conversation.id)
    conversation.refresh_from_db()
    assert conversation.last_seq == 0


def test_a_statement_that_takes_too_long_is_a_timeout():
    def slow() -> None:
        with transaction.atomic():
            execute("SET LOCAL statement_timeout = '20ms'")
            execute("SELECT pg_sleep(5)")

    with pytest.raises(Timeout):
        database.call(slow)


def test_a_database_that_takes_no_writes_is_temporarily_unavailable():
    def write() -> None:
        with transaction.atomic():
            execute("SET TRANSACTION READ ONLY")
            execute("UPDATE conversations SET last_seq = 1")

    with pytest.raises(TemporaryUnavailable):
        database.call(write)


def test_a_session_that_dies_is_temporarily_unavailable_and_the_next_call_works():
    def die() -> None:
        execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(TemporaryUnavailable):
        database.call(die)
    database.call(execute, "SELECT 1")


def test_a_constraint_is_the_callers_matter():
    with pytest.raises(IntegrityError):
        database.call(execute, "INSERT INTO log_epoch (id, epoch) VALUES (2, 'x')")


def test_a_deadlock_is_tried_again():
    one, other = sorted(conversation_of().id for _ in range(2))
    both_hold = threading.Barrier(2, timeout=SECONDS)
    attempts = {one: 0, other: 0}

    def lock(first, second) -> None:
        attempts[first] += 1
        with transaction.atomic():
            execute("UPDATE conversations SET last_seq = last_seq + 1 WHERE id = %s", first)
            if attempts[first] == 1:
                both_hold.wait()
            execute("UPDATE conversations SET last_seq = last_seq + 1 WHERE id = %s", second)

    failures: list[BaseException] = []

    def run(first, second) -> None:
        try:
            database.call(lock, first, second)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=pair) for pair in ((one, other), (other, one))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert failures == []
    assert sum(attempts.values()) >= 3  # one of them was the victim
    assert list(Conversation.objects.values_list("last_seq", flat=True)) == [2, 2]


def test_a_deadlock_that_stays_is_temporarily_unavailable():
    calls = []

    def always() -> None:
        calls.append(1)
        execute("DO $$ BEGIN RAISE EXCEPTION 'again' USING ERRCODE = '40P01'; END $$")

    with pytest.raises(TemporaryUnavailable):
        database.call(always)
    assert len(calls) == 1 + database.RETRIES


async def test_run_does_not_hold_the_loop():
    begun, go = threading.Event(), threading.Event()

    def wait() -> str:
        begun.set()
        assert go.wait(SECONDS)
        return "done"

    work = asyncio.create_task(database.run(wait))
    await asyncio.to_thread(begun.wait, SECONDS)
    assert await database.run(lambda: 1 + 1) == 2  # the loop and another thread are free
    go.set()
    assert await work == "done"


async def nothing_waits() -> None:
    async with asyncio.timeout(SECONDS):
        while database._waiting:
            await asyncio.sleep(0.005)


def test_a_call_whose_loop_is_gone_does_not_count_for_ever(monkeypatch):
    asyncio.run(nothing_waits())
    go = threading.Event()
    with monkeypatch.context() as patch:
        patch.setattr(database, "LIMITS", replace(LIMITS, request_seconds=0.05))
        with pytest.raises(Timeout):
            asyncio.run(database.run(go.wait, SECONDS))
    assert database._waiting == 1
    go.set()
    asyncio.run(nothing_waits())


async def test_run_has_a_deadline_and_a_bound(monkeypatch):
    go = threading.Event()
    await nothing_waits()  # what a test before gave up
    monkeypatch.setattr(database, "LIMITS", replace(LIMITS, request_seconds=0.05))
    try:
        with pytest.raises(Timeout):
            await database.run(go.wait, SECONDS)
        # The call that nobody waits for any more still holds its thread, and counts.
        assert database._waiting == 1
        monkeypatch.setattr(database, "WAITING_MAX", 1)
        with pytest.raises(Overloaded):
            await database.run(lambda: None)
    finally:
        go.set()
    await nothing_waits()
    monkeypatch.undo()
    assert await database.run(lambda: "works again") == "works again"


# --- the circuit ---


def away() -> None:
    raise psycopg.OperationalError("the server closed the connection")


def test_outages_open_the_circuit_and_a_probe_closes_it():
    circuit = breaker("database")
    for _ in range(LIMITS.circuit_failures):
        with pytest.raises(DatabaseAway):
            database.call(away)
    assert circuit.state == "open"
    calls: list[int] = []
    with pytest.raises(DatabaseAway) as refused:
        database.call(calls.append, 1)
    assert calls == []
    assert 0 < refused.value.retry_after <= LIMITS.circuit_retry_seconds
    circuit.hold("open")
    circuit.hold(None)  # the next call is a probe
    database.call(execute, "SELECT 1")
    assert breaker("database").state == "closed"


async def test_an_open_circuit_refuses_without_a_thread():
    breaker("database").hold("open")
    with pytest.raises(DatabaseAway):
        await database.run(lambda: None)


def test_what_is_no_outage_does_not_open_it():
    def busy() -> None:
        raise psycopg.errors.LockNotAvailable("busy")

    def full() -> None:
        raise psycopg.errors.DiskFull("no space left on device")

    def refused() -> None:
        raise NotFound()

    for function, error in (
        (busy, TemporaryUnavailable),
        (full, DatabaseReadOnly),  # it can still be read
        (refused, NotFound),
        (lambda: execute("INSERT INTO log_epoch (id, epoch) VALUES (2, 'x')"), IntegrityError),
    ):
        for _ in range(2 * LIMITS.circuit_failures):
            with pytest.raises(error):
                database.call(function)
    assert breaker("database").state == "closed"


def test_statements_that_take_too_long_are_an_outage_only_one_after_the_other():
    def slow() -> None:
        raise psycopg.errors.QueryCanceled("statement timeout")

    for _ in range(2):
        for _ in range(database.SLOW_IN_A_ROW - 1):
            with pytest.raises(Timeout):
                database.call(slow)
        database.call(execute, "SELECT 1")
    assert breaker("database").state == "closed"
    for _ in range(database.SLOW_IN_A_ROW + LIMITS.circuit_failures):
        with pytest.raises((Timeout, DatabaseAway)):
            database.call(slow)
    assert breaker("database").state == "open"


def test_a_connection_that_breaks_before_the_commit_did_nothing_and_at_the_commit_may_have():
    def breaks(before: bool) -> None:
        with database.pipelined() as raw:
            cursor = psycopg.Cursor(raw)
            cursor.execute("SELECT pg_backend_pid()")
            pid = cursor.fetchone()[0]
            with other_session() as other:
                other.execute("SELECT pg_terminate_backend(%s)", [pid])
                while other.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", [pid]).fetchone():
                    pass
            if before:
                cursor.execute("SELECT 1")
                cursor.fetchone()

    with pytest.raises(DatabaseAway):
        database.call(breaks, True)
    with pytest.raises(OutcomeUnknown):
        database.call(breaks, False)
    database.call(execute, "SELECT 1")


def test_a_call_that_is_not_answered_loses_its_connection(monkeypatch):
    monkeypatch.setattr(database, "LIMITS", replace(LIMITS, database_call_seconds=0.2))
    with pytest.raises(DatabaseAway):
        database.call(execute, "SELECT pg_sleep(3)")
    database.call(execute, "SELECT 1")


def test_a_kept_connection_that_died_while_it_was_idle_is_tried_anew(monkeypatch):
    monkeypatch.setattr(database, "KEEPS", True)
    pids: list[int] = []

    def look() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            pids.append(cursor.fetchone()[0])

    database.call_keeping(look)
    with other_session() as other:
        other.execute("SELECT pg_terminate_backend(%s)", [pids[0]])
    database.call_keeping(look)
    connection.close()
    assert pids[0] != pids[1]
