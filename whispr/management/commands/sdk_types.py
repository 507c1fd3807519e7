"""`manage.py sdk_types`: write the client's TypeScript types anew, or with --check say that they are behind."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from whispr import sdk_types


class Command(BaseCommand):
    """Write the client's types from the code. Needs no database, no Redis, no running server."""

    help = "Write sdk/packages/client/src/protocol.gen.ts from the server's requests, events, errors and limits."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("--check", action="store_true", help="change nothing; fail where the file is behind")

    def handle(self, *args: Any, **options: Any) -> None:
        """Render the file, and write it where it changed."""
        before = sdk_types.PATH.read_text() if sdk_types.PATH.exists() else ""
        after = sdk_types.render()
        if options["check"] and after != before:
            raise CommandError(f"{sdk_types.PATH.name} is behind the code. Run: manage.py sdk_types")
        if after != before:
            sdk_types.PATH.write_text(after)
        self.stdout.write("changed" if after != before else "as it was")
