"""The delivery application."""

from django.apps import AppConfig


class DeliveryConfig(AppConfig):
    """Delivery statuses, device cursors."""

    name = "delivery"
