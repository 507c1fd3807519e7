"""What tests of people have in common: direct conversations, settings, members."""

import asyncio
from typing import Any
from uuid import UUID

from tests.live.client import Client
from tests.live.server import Scene


async def direct_of(scene: Scene, ann: UUID, bob: UUID) -> str:
    answer = await scene.rest(ann, "POST", "conversations", {"type": "direct", "members": [str(bob)]})
    assert answer.status in (200, 201), answer
    return answer.body["id"]


async def settle(*clients: Client) -> None:
    """Whatever was on its way is here afterwards: what is passed on between processes takes milliseconds."""
    await asyncio.sleep(0.4)
    for client in clients:
        await client.heartbeat()


async def set_settings(scene: Scene, user: UUID, **settings: Any) -> None:
    answer = await scene.rest(user, "PATCH", "settings", settings, worker=1)
    assert answer.status == 200, answer
    assert answer.body.items() >= settings.items()


async def members_of(scene: Scene, viewer: UUID, conversation_id: str) -> dict[str, dict[str, Any]]:
    answer = await scene.rest(viewer, "GET", f"conversations/{conversation_id}/members", worker=1)
    assert answer.status == 200, answer
    return {one["userId"]: one for one in answer.body["members"]}
