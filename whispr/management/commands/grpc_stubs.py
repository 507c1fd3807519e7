"""`manage.py grpc_stubs`: write the Python stubs of proto/ anew, or with --check say which are behind."""

import tempfile
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from whispr import grpc_stubs


class Command(BaseCommand):
    """Compile the contracts of proto/. Needs grpcio-tools, and neither database nor Redis."""

    help = "Write the gRPC stubs in integrations/proto from the contracts in proto."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("--check", action="store_true", help="change nothing; fail where a stub is behind")

    def handle(self, *args: Any, **options: Any) -> None:
        """Compile, and write or compare."""
        try:
            if options["check"]:
                with tempfile.TemporaryDirectory() as place:
                    grpc_stubs.write_stubs(Path(place))
                    if stale := grpc_stubs.stale_stubs(Path(place)):
                        raise CommandError(f"Behind proto/: {', '.join(stale)}. Run: manage.py grpc_stubs")
            else:
                for path in grpc_stubs.write_stubs():
                    self.stdout.write(str(path))
        except ImportError:
            raise CommandError("grpcio-tools is not installed (requirements-dev.txt).") from None
        except grpc_stubs.StubsFailed:
            raise CommandError("protoc refused the contracts.") from None
