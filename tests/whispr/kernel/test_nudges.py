"""A bell rings once for many who ask, late enough for all of them, and a broker that is away harms nobody."""

import asyncio
import threading

import pytest

from whispr.kernel import nudges
from whispr.kernel.nudges import Bell

SECONDS = 0.05


@pytest.fixture
def rung(monkeypatch) -> list[str]:
    heard: list[str] = []
    monkeypatch.setattr(nudges, "_send", heard.append)
    return heard


async def rest(seconds: float = 6 * SECONDS) -> None:
    await asyncio.sleep(seconds)


async def test_one_ring_for_all_who_ask_at_once(rung):
    bell = Bell("task", SECONDS)
    bell.ring()
    assert rung == []
    await rest()
    assert rung == ["task"]


async def test_who_asks_while_it_waits_gets_a_ring_of_their_own_in_time(rung):
    bell = Bell("task", SECONDS)
    for _ in range(100):
        bell.ring()
    await rest()
    assert rung == ["task", "task"]
    bell.ring()
    await rest()
    assert rung == ["task"] * 3


async def test_no_ring_waits_for_one_that_hangs(monkeypatch):
    hangs, calls = threading.Event(), []

    def hang(task: str) -> None:
        calls.append(task)
        hangs.wait(10)

    monkeypatch.setattr(nudges, "_send", hang)
    bell = Bell("task", SECONDS)
    try:
        for _ in range(3):
            bell.ring()
            await rest(2 * SECONDS)
        assert calls == ["task"]
    finally:
        hangs.set()
    await rest()
    bell.ring()
    await rest()
    assert calls == ["task", "task"]


async def test_a_broker_that_is_away_is_noted_and_forgotten(monkeypatch, caplog):
    def away(task: str) -> None:
        raise ConnectionError("redis://user:secret@somewhere")

    monkeypatch.setattr(nudges, "_send", away)
    bell = Bell("task", SECONDS)
    with caplog.at_level("INFO"):
        bell.ring()
        await rest()
    assert "ConnectionError" in caplog.text
    assert "secret" not in caplog.text


async def test_without_anybody_to_ask_nothing_happens(monkeypatch):
    monkeypatch.setattr(nudges, "_send", None)
    bell = Bell("task", SECONDS)
    bell.ring()
    await rest()


def test_the_application_knows_whom_to_ask():
    from whispr.celery import app

    assert nudges._send is not None
    assert app.amqp.router.route({}, "delivery.tasks.send_pushes")["queue"].name == "push"
