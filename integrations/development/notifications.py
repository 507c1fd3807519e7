"""The development notification service: takes pushes, each key once, and notes them, without their tokens."""

import json
from collections import OrderedDict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from integrations.development.modes import Behaviour
from integrations.proto.whispr.notifications.v1 import notifications_pb2, notifications_pb2_grpc

Answer = notifications_pb2.SendPushNotificationsResponse
# A platform's own service says of such a token that its device is gone.
DEAD_TOKEN = "dead"
KEYS_MAX = 100_000


class Notifications(notifications_pb2_grpc.NotificationsServicer):
    """Pushes that go nowhere. `shown` are those that a real service would have shown, by key, the oldest first."""

    def __init__(self, behaviour: Behaviour, push_log: Path | None = None) -> None:
        self.behaviour = behaviour
        self.shown: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._log = push_log

    async def SendPushNotifications(
        self, request: notifications_pb2.SendPushNotificationsRequest, context: Any
    ) -> Answer:
        """As the contract says."""
        wrong = await self.behaviour.meet(context)
        answer = Answer()
        for push in request.pushes:
            self._take(push)
            dead = [one.device_id for one in push.devices if one.token.startswith(DEAD_TOKEN)]
            answer.outcomes.add(key=push.key, accepted=True, invalid_device_ids=dead)
        if wrong:
            self._spoil(answer)
        return answer

    def _take(self, push: notifications_pb2.Push) -> None:
        if push.key in self.shown:
            return
        noted = {
            "time": datetime.now(UTC).isoformat(),
            "key": push.key,
            "kind": notifications_pb2.Kind.Name(push.kind),
            "userId": push.user_id,
            "conversationId": push.conversation_id,
            "messageIds": list(push.message_ids),
            "count": push.count,
            "badge": push.badge,
            "devices": [one.device_id for one in push.devices],
        }
        self.shown[push.key] = noted
        while len(self.shown) > KEYS_MAX:
            self.shown.popitem(last=False)
        if self._log is not None:
            with self._log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(noted) + "\n")

    def _spoil(self, answer: Answer) -> None:
        turn = self.behaviour.next_wrong(4)
        if turn == 0:
            answer.outcomes.add(key="of nobody", accepted=True)
        elif turn == 1:
            del answer.outcomes[:]
        elif turn == 2:
            answer.outcomes[0].key = "another"
        else:
            answer.outcomes[0].invalid_device_ids.append("no uuid")
