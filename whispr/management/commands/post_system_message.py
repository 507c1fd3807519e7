"""`manage.py post_system_message CONVERSATION --event NAME`: a system entry on behalf of another service."""

import asyncio
import json
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from messaging.events import NOBODY, Entry
from messaging.fanout.bus import buses
from messaging.services.system import system_message_post
from whispr.kernel.errors import WhisprError


class Command(BaseCommand):
    """Append a system entry to a conversation and tell whoever is connected; clients show what it means."""

    help = "Post a system message into a conversation; prints its message id and seq."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("conversation", type=UUID)
        parser.add_argument("--event", required=True, help="a lower-case name that is not one of the server's own")
        parser.add_argument("--details", default="{}", help="a JSON object, beside `event` in the entry's metadata")
        parser.add_argument("--by", type=UUID, default=NOBODY, help="the user who caused it; nobody by default")

    def handle(self, *args: Any, **options: Any) -> None:
        """Post it, and wait until the doorbell rang."""
        try:
            details = json.loads(options["details"])
        except ValueError:
            raise CommandError("--details must be JSON.") from None
        if not isinstance(details, dict):
            raise CommandError("--details must be a JSON object.")
        try:
            entry = asyncio.run(_post(options["conversation"], options["event"], details, options["by"]))
        except WhisprError as error:
            raise CommandError(f"{error.code}: {error.message}") from None
        self.stdout.write(f"{entry.message_id} {entry.seq}")


async def _post(conversation_id: UUID, event: str, details: dict[str, Any], by: UUID) -> Entry:
    try:
        return await system_message_post(conversation_id, event, details, by)
    finally:
        bus = buses.peek()
        if bus is not None:
            await bus.drained()
