"""What is refused under load, kind by kind: changes before sends, sends before reading, acknowledgements never."""

from typing import Any

import pytest

from tests.messaging.api.client import Client, message
from whispr.kernel import overload


@pytest.mark.parametrize("level", range(len(overload.KINDS) + 1))
async def test_under_load_what_matters_least_is_refused_first(monkeypatch: pytest.MonkeyPatch, level: int) -> None:
    ann, bob = Client(), Client()
    chat = await ann.group(bob)
    sent = (await ann.send(chat)).json["messageId"]
    monkeypatch.setattr(overload, "_level", level)
    asked: dict[str, list[Any]] = {
        "changing": [
            await ann.ask("PUT", f"/messages/{sent}", {"content": "AAAA", "clientRandom": 1}),
            await ann.post(f"/messages/{sent}/reactions", {"emoji": "👍"}),
            await ann.delete(f"/messages/{sent}?for_everyone=false"),
        ],
        "sending": [await ann.post("/messages", message(chat))],
        "reading": [await bob.get(f"/conversations/{chat}/messages"), await bob.post("/sync", {})],
    }
    for kind, answers in asked.items():
        for answer in answers:
            if overload.KINDS.index(kind) < level:  # type: ignore[arg-type]
                assert (answer.status, answer.code) == (503, "overloaded")
                assert level <= answer.json["retryAfter"] <= level * overload.SPREAD
                assert int(answer.headers["retry-after"]) >= 1
            else:
                assert answer.status < 300, (kind, answer)
    for status in ("received", "read"):
        answer = await bob.post("/acks", {"conversationId": chat, "upTo": 2, "status": status})
        assert answer.status == 200
