"""`manage.py token USER`: a token, alone on standard output, for development and tests (docs/protocol.md §1)."""

import uuid
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser

from whispr.kernel.ids import user_id_of
from whispr.kernel.tokens import DEFAULT_LIFETIME_SECONDS, development_device_id, make_token


class Command(BaseCommand):
    """Print a token. Needs WHISPR_JWT_SECRET; needs no database, no Redis, no running server."""

    help = "Print a development token of USER (a UUID, or any name: see userid), alone on standard output."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("user", metavar="USER", help="a UUID, or any name")
        parser.add_argument(
            "--device",
            metavar="UUID",
            help="the device; without it the user's development device, the same each time, so that it resumes",
        )
        parser.add_argument(
            "--lifetime",
            metavar="SECONDS",
            type=int,
            default=DEFAULT_LIFETIME_SECONDS,
            help="how long the token is valid (default: %(default)s)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the token."""
        try:
            if not options["user"].strip():
                raise ValueError("USER must not be empty.")
            user_id = user_id_of(options["user"])
            device_id = _device_id(options["device"], user_id)
            token = make_token(user_id, device_id, options["lifetime"])
        except UnicodeEncodeError:
            raise CommandError("USER is not text in UTF-8.") from None
        except (ImproperlyConfigured, ValueError) as error:
            raise CommandError(str(error)) from None
        self.stdout.write(token)


def _device_id(text: str | None, user_id: uuid.UUID) -> uuid.UUID:
    if text is None:
        return development_device_id(user_id)
    try:
        return uuid.UUID(text)
    except ValueError:
        raise ValueError(f"The device {text!r} is not a UUID.") from None
