"""The application of the services around the core."""

from django.apps import AppConfig


class IntegrationsConfig(AppConfig):
    """Users, media, notifications; the circuits to everything external."""

    name = "integrations"
