"""What goes over the wire, as the harness keeps it: what is sent, what is held, what an answer means."""

import base64
import contextlib
import http.client
import json
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import jwt

from tests.chaos.history import Phase, hash_of

# docs/protocol.md §8.8 promises an answer within 10 s; beyond this there is none.
ANSWER_SECONDS = 12.0


def token_of(secret: str, user: UUID, device: UUID) -> str:
    """A token as the auth service would sign it."""
    now = int(time.time())
    # Older than a clock of a fault is behind (F34): a token of the future is refused, as it must be.
    claims = {"sub": str(user), "device": str(device), "iss": "whispr", "aud": "whispr", "jti": str(uuid4())}
    return jwt.encode(claims | {"iat": now - 4_000, "exp": now + 7_200}, secret, algorithm="HS256")


@dataclass
class Outgoing:
    """A message on its way."""

    conversation: str
    type: str
    content: bytes
    client_random: int
    target: str | None = None
    ttl: int | None = None
    reply_to: str | None = None
    emoji: str | None = None
    remove: bool = False
    media_id: str | None = None
    attempts: int = 0

    def payload(self) -> dict[str, Any]:
        """The body of `send_message` and of `POST messages`."""
        body: dict[str, Any] = {
            "conversationId": self.conversation,
            "type": self.type,
            "content": base64.b64encode(self.content).decode(),
            "clientRandom": self.client_random,
        }
        if self.ttl is not None:
            body["ttl"] = self.ttl
        if self.target is not None:
            body["target"] = self.target
        if self.reply_to is not None:
            body["replyTo"] = self.reply_to
        if self.media_id is not None:
            body["mediaId"] = self.media_id
        if self.emoji is not None:
            body["metadata"] = {"emoji": self.emoji, "remove": self.remove}
        return body


@dataclass
class Held:
    """What a device has of a conversation: everything up to `upto`, and own entries beyond."""

    upto: int | None = None
    own: set[int] = field(default_factory=set)
    acked: int = 0
    read: int = 0
    messages: dict[str, dict[str, Any]] = field(default_factory=dict)  # live messages, by id

    def take(self, seq: int, *, own: bool) -> None:
        """An entry came, or an own one was answered."""
        if own:
            self.own.add(seq)
        elif self.upto is None or seq > self.upto:
            self.upto = seq
        while self.upto is not None and self.upto + 1 in self.own:
            self.upto += 1


def keep(held: Held, entry: dict[str, Any]) -> None:
    """Know the messages that can still be changed."""
    if entry["type"] in ("text", "ephemeral"):
        held.messages[entry["messageId"]] = entry
        if len(held.messages) > 40:
            del held.messages[next(iter(held.messages))]
    elif entry["type"] == "system":
        metadata = entry["metadata"]
        for message_id in [metadata.get("messageId"), *metadata.get("messageIds", ())]:
            held.messages.pop(message_id, None)


def entry_fields(entry: dict[str, Any]) -> dict[str, Any]:
    """An entry as the history has it."""
    metadata = entry.get("metadata") or {}
    fields: dict[str, Any] = {
        "conversation": entry["conversationId"],
        "seq": entry["seq"],
        "message_id": entry["messageId"],
        "sender": entry["senderId"],
        "client_random": entry.get("clientRandom"),
        "type": entry["type"],
        "sent_at": entry["sentAt"],
        "target": entry.get("target"),
        "expires_at": seconds_of(entry.get("expiresAt")),
        "hash": hash_of(base64.b64decode(entry["content"])),
    }
    if entry["type"] == "system":
        fields["event"] = metadata.get("event")
        fields["users"] = metadata.get("userIds")
        fields["named"] = [one for one in [metadata.get("messageId"), *metadata.get("messageIds", ())] if one] or None
    elif entry["type"] == "reaction":
        fields["emoji"], fields["remove"] = metadata.get("emoji"), bool(metadata.get("remove"))
    if entry.get("editedAt"):
        fields["edited"] = True
    if entry.get("reactions"):
        fields["reactions"] = {one["emoji"]: one["userIds"] for one in entry["reactions"]}
    return {name: value for name, value in fields.items() if value is not None}


def seconds_of(text: str | None) -> float | None:
    """RFC 3339 as seconds since the epoch."""
    return None if text is None else datetime.fromisoformat(text).timestamp()


def rest_outcome(status: int, answer: Any) -> tuple[Phase, str | None, Any]:
    """The phase, the code and the body of what REST answered; status 0: closed, -1: silence."""
    if status in (0, -1):
        return "info", "closed" if status == 0 else "silence", None
    if status < 300:
        return "ok", None, answer
    code = answer.get("code") if isinstance(answer, dict) else None
    if status >= 500:
        return "info", code or f"http_{status}", answer
    return "fail", code or f"http_{status}", answer


def rest_request(port: int, method: str, path: str, body: Any, token: str) -> tuple[int, Any]:
    """One request below /api/v1: its status and its answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)
    try:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        connection.request(method, f"/api/v1/{path}", data, headers)
        response = connection.getresponse()
        text = response.read()
        with contextlib.suppress(ValueError):
            answer = json.loads(text or b"null")
            if isinstance(answer, dict) and (after := response.headers.get("Retry-After", "")).isdigit():
                answer.setdefault("retryAfter", int(after))
            return response.status, answer
        return response.status, None
    except TimeoutError:
        return -1, None
    except (OSError, http.client.HTTPException):
        return 0, None
    finally:
        connection.close()
