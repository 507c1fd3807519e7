"""`manage.py grpc_server`: the entry for other services, on WHISPR_GRPC_ADDRESS, until SIGTERM."""

import asyncio
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from messaging.grpc_server import serve
from whispr.checks import require_serving_settings
from whispr.kernel.service_entry import service_entry
from whispr.metrics import metrics_serve


class Command(BaseCommand):
    """Serve gRPC on loopback, or anywhere with mutual TLS (docs/operations.md)."""

    help = "Serve gRPC to other services on WHISPR_GRPC_ADDRESS."
    requires_system_checks: list[str] = []  # require_serving_settings has more to say

    def handle(self, *args: Any, **options: Any) -> None:
        """Serve; the exit code is 0 after a signal."""
        try:
            require_serving_settings()
            metrics_serve()
            asyncio.run(serve(service_entry()))
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from None
