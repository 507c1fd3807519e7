"""The project as an application: management commands, checks."""

from django.apps import AppConfig
from django.core.checks import Tags, register


class WhisprConfig(AppConfig):
    """The kernel, the commands, the system checks."""

    name = "whispr"

    def ready(self) -> None:
        """Register the system checks."""
        from whispr.checks import check_settings  # here: it reads the settings, which are complete only now

        register(check_settings, Tags.security)
