"""What a message can become, driven over either transport, and what a client makes of the log it is given."""

import base64
import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from tests.live.client import Client
from tests.live.server import Scene

MESSAGES = ("text", "media", "ephemeral")
randoms = itertools.count(10_000_000)


def text(value: bytes) -> str:
    return base64.b64encode(value).decode()


@dataclass
class OverSocket:
    """One user's changes over a joined socket."""

    client: Client

    async def _ok(self, event: str, payload: dict[str, Any]) -> dict[str, Any]:
        return (await self.client.ask(self.client.inbox, event, payload)).ok

    async def send(self, conversation: str, content: bytes, **fields: Any) -> dict[str, Any]:
        body = {"conversationId": conversation, "type": "text", "content": text(content), "clientRandom": next(randoms)}
        return await self._ok("send_message", body | fields)

    async def edit(self, message_id: str, content: bytes) -> dict[str, Any]:
        body = {"messageId": message_id, "content": text(content), "clientRandom": next(randoms)}
        return await self._ok("edit_message", body)

    async def react(self, message_id: str, emoji: str, *, remove: bool = False) -> dict[str, Any]:
        body = {"messageId": message_id, "emoji": emoji, "remove": remove, "clientRandom": next(randoms)}
        return await self._ok("react", body)

    async def delete(self, message_id: str, *, for_everyone: bool) -> dict[str, Any]:
        return await self._ok("delete_message", {"messageId": message_id, "forEveryone": for_everyone})


@dataclass
class OverRest:
    """The same over REST."""

    scene: Scene
    user: UUID
    worker: int = 0

    async def _ok(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        answer = await self.scene.rest(self.user, method, path, body, worker=self.worker)
        assert 200 <= answer.status < 300, answer
        found: dict[str, Any] = answer.body
        return found

    async def send(self, conversation: str, content: bytes, **fields: Any) -> dict[str, Any]:
        body = {"conversationId": conversation, "type": "text", "content": text(content), "clientRandom": next(randoms)}
        return await self._ok("POST", "messages", body | fields)

    async def edit(self, message_id: str, content: bytes) -> dict[str, Any]:
        return await self._ok(
            "PUT", f"messages/{message_id}", {"content": text(content), "clientRandom": next(randoms)}
        )

    async def react(self, message_id: str, emoji: str, *, remove: bool = False) -> dict[str, Any]:
        if remove:
            return await self._ok(
                "DELETE", f"messages/{message_id}/reactions?emoji={emoji}&clientRandom={next(randoms)}"
            )
        return await self._ok(
            "POST", f"messages/{message_id}/reactions", {"emoji": emoji, "clientRandom": next(randoms)}
        )

    async def delete(self, message_id: str, *, for_everyone: bool) -> dict[str, Any]:
        return await self._ok("DELETE", f"messages/{message_id}?for_everyone={str(for_everyone).lower()}")


@dataclass
class Shown:
    """A message as a client shows it."""

    content: str
    metadata: dict[str, Any]
    edited_at: str | None = None
    reactions: dict[str, set[str]] = field(default_factory=dict)


def shown_from_log(entries: Iterable[dict[str, Any]], hidden: Iterable[str] = ()) -> dict[str, Shown]:
    """What a client shows that applied these entries of one log in order: the rules of docs/protocol.md."""
    state: dict[str, Shown] = {}
    for entry in sorted(entries, key=lambda entry: entry["seq"]):
        metadata = entry["metadata"]
        target = state.get(entry["target"])
        if entry["type"] in MESSAGES:
            state[entry["messageId"]] = Shown(entry["content"], metadata)
        elif entry["type"] == "system":
            for gone in [metadata.get("messageId"), *metadata.get("messageIds", ())]:
                if gone in state and metadata["event"] in ("message_deleted", "message_expired"):
                    state[gone] = Shown("", {})
        elif target is None or not target.content:
            continue
        elif entry["type"] == "edit" and entry["content"]:
            target.content, target.metadata, target.edited_at = entry["content"], metadata, entry["sentAt"]
        elif entry["type"] == "reaction" and "emoji" in metadata:
            users = target.reactions.setdefault(metadata["emoji"], set())
            (users.discard if metadata["remove"] else users.add)(entry["senderId"])
            if not users:
                del target.reactions[metadata["emoji"]]
    for message_id in hidden:
        state.pop(message_id, None)
    return state


def shown_from_history(entries: Iterable[dict[str, Any]]) -> dict[str, Shown]:
    """What a client shows that fetched the history afresh."""
    return {
        entry["messageId"]: Shown(
            entry["content"],
            entry["metadata"],
            entry["editedAt"],
            {one["emoji"]: set(one["userIds"]) for one in entry.get("reactions", ())},
        )
        for entry in entries
        if entry["type"] in MESSAGES
    }


def hidden_of(client: Client) -> set[str]:
    """What a socket was told is hidden."""
    updates = [one for one in client.events("personal_update") if one["kind"] == "hidden"]
    return {message_id for one in updates for message_id in one["messageIds"]}
