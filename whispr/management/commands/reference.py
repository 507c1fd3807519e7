"""`manage.py reference`: write the generated tables of docs/ anew, or with --check say which page is behind."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from whispr import reference


class Command(BaseCommand):
    """Write the reference tables of the documents. Needs no database, no Redis, no running server."""

    help = "Write the generated tables of docs/protocol.md and docs/operations.md from the code."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("--check", action="store_true", help="change nothing; fail where a page is behind the code")

    def handle(self, *args: Any, **options: Any) -> None:
        """Render every page, and write what changed."""
        stale: list[str] = []
        for name in reference.PAGES:
            path = reference.DOCS / name
            before = path.read_text()
            after = reference.render(before)
            if after != before:
                stale.append(name)
                if not options["check"]:
                    path.write_text(after)
        if options["check"] and stale:
            raise CommandError(f"Behind the code: {', '.join(stale)}. Run: manage.py reference")
        self.stdout.write(f"{len(stale)} of {len(reference.PAGES)} pages changed.")
