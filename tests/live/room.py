"""A group of two on a running server, for tests of what it must refuse."""

import base64
from typing import Any
from uuid import uuid4

from tests.live.client import Client
from tests.live.server import Scene

CIPHERTEXT = base64.b64encode(b"ciphertext").decode()


class Room:
    """A conversation of two, with one message in it, and a socket of each."""

    def __init__(self, scene: Scene, ann: Client, bob: Client, conversation_id: str) -> None:
        self.scene, self.ann, self.bob, self.id = scene, ann, bob, conversation_id

    @classmethod
    async def of(cls, scene: Scene) -> "Room":
        ann, bob = uuid4(), uuid4()
        conversation_id = await scene.group(ann, bob)
        room = cls(scene, await scene.joined(ann), await scene.joined(bob, worker=1), conversation_id)
        (await room.ann.send(conversation_id, b"first", clientRandom=1)).ok
        await room.bob.until_seq(conversation_id, 2)
        return room

    def stored(self) -> tuple[Any, ...]:
        """All that a request could have changed."""
        return (
            self.scene.log(self.id),
            self.scene.rows("SELECT user_id, delivered_seq, read_seq FROM members WHERE conversation_id = %s", self.id),
            self.scene.rows("SELECT count(*) FROM send_keys WHERE sender_id = %s", self.ann.user),
            self.scene.rows("SELECT id, acked_seq FROM device_cursors WHERE conversation_id = %s", self.id),
            self.scene.rows("SELECT count(*) FROM device_cursors WHERE device_id = %s", self.ann.device),
        )
