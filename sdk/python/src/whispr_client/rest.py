"""REST, as far as a bot needs it; anything else by `request()` (docs/protocol.md §7)."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

import httpx

from whispr_client.errors import Refused, Unanswered
from whispr_client.messages import Message

SECONDS = 12.0  # the server answers within 10


class Rest:
    """The REST API of one server, with the token that `token()` gives."""

    def __init__(self, url: str, token: Callable[[], Awaitable[str]] | None) -> None:
        self._token = token
        self._http = httpx.AsyncClient(base_url=f"{url.rstrip('/')}/api/v1/", timeout=SECONDS)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        params: Mapping[str, str | int] | None = None,
        token: str | None = None,
    ) -> Any:
        """The decoded answer, None where there is none; `token` instead of the client's own.

        Raises Refused with the server's code, Unanswered without an answer.
        """
        if token is None and self._token is not None:
            token = await self._token()
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        try:
            answer = await self._http.request(method, path, json=body, params=params, headers=headers)
            decoded = answer.json() if answer.content else None
        except (httpx.HTTPError, ValueError) as error:
            raise Unanswered(f"{method} {path}: {type(error).__name__}") from error
        if answer.is_success:
            return decoded
        raise Refused.of(decoded if isinstance(decoded, dict) else {"code": "internal_error"})

    async def conversation_create(
        self, members: Sequence[UUID], *, type: str = "direct", settings: Mapping[str, Any] | None = None
    ) -> Mapping[str, Any]:
        """A new conversation, or the direct one that there is already."""
        body: dict[str, Any] = {"type": type, "members": [str(one) for one in members]}
        if settings is not None:
            body["settings"] = dict(settings)
        created: Mapping[str, Any] = await self.request("POST", "conversations", body)
        return created

    async def list_conversations(self) -> list[Mapping[str, Any]]:
        """All conversations of the user."""
        found: list[Mapping[str, Any]] = []
        params: dict[str, str | int] = {}
        while True:
            page = await self.request("GET", "conversations", params=params)
            found += page["conversations"]
            if not page.get("next"):
                return found
            params = {"next": page["next"]}

    async def get_history(
        self, conversation_id: UUID, *, before: int | None = None, after: int | None = None, limit: int = 50
    ) -> tuple[list[Message], bool]:
        """A page of a conversation as it is now, in order, and whether there is more of it."""
        params: dict[str, str | int] = {"limit": limit}
        if before is not None:
            params["before"] = before
        if after is not None:
            params["after"] = after
        page = await self.request("GET", f"conversations/{conversation_id}/messages", params=params)
        return [Message.of(one) for one in page["messages"]], bool(page["hasMore"])

    async def sync(self, cursors: Mapping[UUID, int], limit: int = 200) -> Mapping[str, Any]:
        """A page of what the log has after `cursors`, of all conversations (docs/protocol.md §7 `sync`)."""
        body = {"cursors": {str(one): seq for one, seq in cursors.items()}, "limit": limit}
        page: Mapping[str, Any] = await self.request("POST", "sync", body)
        return page


async def dev_sign_in(url: str, name: str, device_id: UUID | None = None) -> Mapping[str, Any]:
    """`{token, userId, deviceId}` of any name, on a server that runs with WHISPR_DEV_LOGIN=1. Raises Refused else."""
    rest = Rest(url, None)
    try:
        body = {"name": name} | ({"deviceId": str(device_id)} if device_id is not None else {})
        signed_in: Mapping[str, Any] = await rest.request("POST", "dev/tokens", body)
        return signed_in
    finally:
        await rest.close()
