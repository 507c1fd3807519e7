"""The ASGI application: HTTP to Django, the socket to Channels, lifespan to the process."""

import gc
import os

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import path, re_path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "whispr.settings")
django_application = get_asgi_application()

from messaging.api.gate import RequestGate  # noqa: E402 - after Django's setup
from messaging.consumer import MessagingConsumer, NoSuchSocket  # noqa: E402 - after Django's setup
from whispr.checks import require_serving_settings  # noqa: E402
from whispr.kernel import auth  # noqa: E402
from whispr.lifespan import lifespan  # noqa: E402

require_serving_settings()
auth.start()

application = ProtocolTypeRouter(
    {
        "http": RequestGate(django_application),
        "websocket": URLRouter(
            [
                path("socket/websocket", MessagingConsumer.as_asgi()),
                # Channels answers a socket path without a route with a fault; a client gets a refusal.
                re_path("", NoSuchSocket.as_asgi()),
            ]
        ),
        "lifespan": lifespan,
    }
)

# What is loaded now lives as long as the process: the cycle collector need not look at it again and again.
gc.collect()
gc.freeze()
