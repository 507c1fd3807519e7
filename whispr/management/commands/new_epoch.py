"""`manage.py new_epoch`: after a restored backup, or a promoted replica that may have lost commits (docs/protocol.md
§2)."""

from typing import Any

from django.core.management.base import BaseCommand

from messaging.store.entries import new_epoch


class Command(BaseCommand):
    """Begin a new generation of the log: every client is told to fetch afresh at its next join."""

    help = "Begin a new epoch of the log: clients that join with a cursor of the old one fetch afresh."

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the new epoch."""
        self.stdout.write(new_epoch())
