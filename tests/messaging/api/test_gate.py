"""The gate's bounds, with applications that misbehave behind it and clients that misbehave before it."""

import asyncio

import msgspec
from asgiref.testing import ApplicationCommunicator

from messaging.api.gate import RequestGate
from tests.messaging.api.client import Client, message
from whispr.kernel.limits import LIMITS

SCOPE = {"type": "http", "method": "POST", "path": "/api/v1/messages", "headers": []}


async def echo(scope, receive, send) -> None:
    """Answers with the body that it got, and the Content-Length that it was told."""
    event = await receive()
    headers = [item for item in scope["headers"] if item[0] == b"content-length"]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": event["body"], "more_body": False})


async def status_of(application: ApplicationCommunicator) -> tuple[int, str | None]:
    start, part = await application.receive_output(5), await application.receive_output(5)
    await application.wait(5)
    return start["status"], msgspec.json.decode(part["body"])["code"] if start["status"] != 200 else None


async def test_a_body_without_a_length_reaches_the_view_whole():
    ann = Client()
    body = msgspec.json.encode(message(await ann.group()))
    answer = await ann.post("/messages", chunks=[body[:1], body[1:20], b"", body[20:]])
    assert (answer.status, answer.json["status"]) == (201, "sent")


async def test_a_declared_length_is_refused_before_anything_is_read():
    for length, expected in ((LIMITS.frame_bytes + 1, 413), ("9" * 50, 413), ("x", 400), ("-1", 400), ("", 400)):
        scope = SCOPE | {"headers": [(b"content-length", str(length).encode())]}
        application = ApplicationCommunicator(RequestGate(echo), scope)  # and sends no event at all
        assert (await status_of(application))[0] == expected, length


async def test_a_streamed_body_is_refused_as_soon_as_it_is_too_large():
    application = ApplicationCommunicator(RequestGate(echo, body_bytes=10), SCOPE)
    for part in (b"12345", b"12345", b"1"):
        await application.send_input({"type": "http.request", "body": part, "more_body": True})
    assert await status_of(application) == (413, "too_large")


async def test_a_body_of_the_limit_passes():
    application = ApplicationCommunicator(RequestGate(echo, body_bytes=10), SCOPE)
    await application.send_input({"type": "http.request", "body": b"1234567890", "more_body": False})
    start, part = await application.receive_output(5), await application.receive_output(5)
    assert (start["headers"], part["body"]) == ([(b"content-length", b"10")], b"1234567890")


async def test_a_body_that_never_ends_is_cut():
    application = ApplicationCommunicator(RequestGate(echo, body_seconds=0.05), SCOPE)
    await application.send_input({"type": "http.request", "body": b"1", "more_body": True})
    assert await status_of(application) == (408, "bad_request")


async def test_an_application_that_hangs_is_answered_for():
    async def hang(scope, receive, send) -> None:
        await asyncio.Event().wait()

    gate = RequestGate(hang, answer_seconds=0.05)
    application = ApplicationCommunicator(gate, SCOPE)
    await application.send_input({"type": "http.request", "body": b"", "more_body": False})
    assert await status_of(application) == (503, "timeout")
    assert gate.running == 0


async def test_an_answer_that_has_begun_may_finish():
    async def slow(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.sleep(0.2)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    application = ApplicationCommunicator(RequestGate(slow, answer_seconds=0.05), SCOPE)
    await application.send_input({"type": "http.request", "body": b"", "more_body": False})
    assert await status_of(application) == (200, None)


async def test_requests_beyond_the_bound_are_shed_and_the_next_ones_served():
    release = asyncio.Event()

    async def wait(scope, receive, send) -> None:
        await release.wait()
        await echo(scope, receive, send)

    gate = RequestGate(wait, running_max=2)
    running = [ApplicationCommunicator(gate, SCOPE) for _ in range(2)]
    for application in running:
        await application.send_input({"type": "http.request", "body": b"", "more_body": False})
    while gate.running < 2:
        await asyncio.sleep(0)
    third = ApplicationCommunicator(gate, SCOPE)
    await third.send_input({"type": "http.request", "body": b"", "more_body": False})
    assert await status_of(third) == (503, "overloaded")
    release.set()
    for application in running:
        assert await status_of(application) == (200, None)
    assert gate.running == 0


async def test_a_client_that_goes_away_leaves_nothing():
    gate = RequestGate(echo)
    application = ApplicationCommunicator(gate, SCOPE)
    await application.send_input({"type": "http.request", "body": b"1", "more_body": True})
    await application.send_input({"type": "http.disconnect"})
    await application.wait(5)
    assert gate.running == 0
    assert await application.receive_nothing()
