"""`manage.py run_services`: the user, media and notification services for development and tests, until SIGTERM."""

import asyncio
import contextlib
import signal
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser

from integrations.development.modes import Mode
from integrations.development.servers import NAMES, SETTINGS, DevelopmentService, DevelopmentServices, Identity


class Command(BaseCommand):
    """Real gRPC servers with switches to be slow, wrong, or gone (docs/operations.md)."""

    help = "Serve the user, media and notification services for development."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("services", nargs="*", metavar="SERVICE", help=f"any of {', '.join(NAMES)}; else all")
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=0, help="of the first one, then the next; else free ones")
        modes = "ok, slow:SECONDS, wrong, error, deny or gone"
        parser.add_argument("--mode", action="append", default=[], metavar="SERVICE=MODE", help=modes)
        parser.add_argument("--control", type=Path, help='a JSON file that is followed: {"users": "slow:5"}')
        parser.add_argument("--push-log", type=Path, help="note each push here, a line of JSON each")
        for name in ("cert", "key", "client-ca"):
            parser.add_argument(f"--{name}", default="", help="mutual TLS: a PEM file; all three or none")

    def handle(self, *args: Any, **options: Any) -> None:
        """Serve; the exit code is 0 after a signal."""
        try:
            asyncio.run(self._serve(options))
        except (ImproperlyConfigured, ValueError) as error:
            raise CommandError(str(error)) from None

    async def _serve(self, options: dict[str, Any]) -> None:
        stopped = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        services = DevelopmentServices(_services(options), options["control"])
        await services.start(_modes(options["mode"], services))
        for name, service in services.services.items():
            self.stdout.write(f"{SETTINGS[name]}={service.address}")
        self.stdout.flush()
        following = asyncio.create_task(services.follow())
        await stopped.wait()
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following
        await services.stop()


def _services(options: dict[str, Any]) -> list[DevelopmentService]:
    files = (options["cert"], options["key"], options["client_ca"])
    if any(files) and not all(files):
        raise ValueError("Mutual TLS needs --cert, --key and --client-ca.")
    identity = Identity(*files) if all(files) else None
    return [
        DevelopmentService(
            name,
            host=options["host"],
            port=options["port"] + place if options["port"] else 0,
            identity=identity,
            push_log=options["push_log"],
        )
        for place, name in enumerate(options["services"] or NAMES)
    ]


def _modes(given: list[str], services: DevelopmentServices) -> dict[str, Mode]:
    modes = {}
    for text in given:
        name, _, mode = text.partition("=")
        if name not in services.services:
            raise ValueError(f"{text!r}: --mode takes SERVICE=MODE, of a service that is served.")
        modes[name] = Mode.parse(mode)
    return modes
