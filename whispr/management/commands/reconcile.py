"""`manage.py reconcile`: check the tables against each other and the logs, and repair what can be."""

import asyncio
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any
from uuid import UUID

import msgspec
from django.core.management.base import BaseCommand, CommandError

from delivery.services.reconcile import Outcome, reconcile
from delivery.store.reconcile_checks import CHECKS, KEY_ORPHAN
from whispr.kernel.errors import WhisprError


class Command(BaseCommand):
    """The exit code is 1 where something was found that was not repaired (docs/operations.md "Reconciliation")."""

    help = "Check watermarks, statuses, outboxes, heads and deduplication keys against the logs."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The command line."""
        parser.add_argument("--repair", action="store_true", help="repair what can be; else only tell")
        parser.add_argument("--conversation", type=UUID, help="only this one")
        parser.add_argument("--json", action="store_true", help="print JSON instead of a table")

    def handle(self, *args: Any, repair: bool, conversation: UUID | None, json: bool, **options: Any) -> None:
        """Run one pass. Raises CommandError for what is left, and where the database is away."""
        try:
            outcome = asyncio.run(reconcile(repair=repair, conversation_id=conversation))
        except WhisprError as error:
            raise CommandError(f"{error.message} Run it again.") from None
        if json:
            self.stdout.write(msgspec.json.encode(asdict(outcome)).decode())
        else:
            self._tell(outcome)
        left = sum(outcome.found.values()) - sum(outcome.repaired.values())
        if left > 0:
            raise CommandError(f"{left} left." + ("" if repair else " --repair repairs what can be."), returncode=1)

    def _tell(self, outcome: Outcome) -> None:
        self.stdout.write(f"{outcome.conversations} conversations, {outcome.entries} entries.")
        if not outcome.found:
            self.stdout.write("Nothing is wrong.")
            return
        self.stdout.write(f"{'check':<22}{'found':>8}{'repaired':>10}  what")
        for check in (*CHECKS, KEY_ORPHAN):
            if check.name in outcome.found:
                repaired = outcome.repaired.get(check.name, 0)
                self.stdout.write(f"{check.name:<22}{outcome.found[check.name]:>8}{repaired:>10}  {check.what}")
        for example in outcome.examples[:20]:
            self.stdout.write(f"  {example['check']}: conversation {example['conversation']}, {example['subject']}")
