"""The messaging application."""

from django.apps import AppConfig


class MessagingConfig(AppConfig):
    """Conversations, members, messages."""

    name = "messaging"
