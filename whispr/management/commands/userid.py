"""`manage.py userid NAME`: the user that a name means (docs/protocol.md §1)."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from whispr.kernel.ids import user_id_of


class Command(BaseCommand):
    """Print the UUID of a name. Needs no setting, no database, no running server."""

    help = "Print the UUID that NAME means, alone on standard output: always the same; a UUID means itself."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("name", metavar="NAME", help="any name, or a UUID")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the UUID."""
        try:
            if not options["name"].strip():
                raise CommandError("NAME must not be empty.")
            self.stdout.write(str(user_id_of(options["name"])))
        except UnicodeEncodeError:
            raise CommandError("NAME is not text in UTF-8.") from None
