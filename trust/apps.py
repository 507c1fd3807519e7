"""The trust application."""

from django.apps import AppConfig


class TrustConfig(AppConfig):
    """Rate limits."""

    name = "trust"
