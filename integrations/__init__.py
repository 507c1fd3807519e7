"""The services around the core: users, media and notifications (specification §9).

One interface each (`users.py`, `media.py`, `notifications.py`), in the core's own frozen values and coded errors,
without a word of Django or of gRPC. Behind it stands another process (`grpc/`) where WHISPR_USER_SERVICE,
WHISPR_MEDIA_SERVICE or WHISPR_NOTIFICATION_SERVICE names one, else the local answer (`local/`), which works from this
system's own tables and disk. Whoever needs a service asks here for it, so that where it is chosen is one place.
"""

from functools import cache
from pathlib import Path

from django.core.signals import setting_changed
from django.dispatch import receiver

from integrations.local.blobs import BlobStore
from integrations.local.media import LocalMedia
from integrations.local.notifications import LocalNotifications
from integrations.local.users import LocalUsers
from integrations.media import MediaService
from integrations.notifications import NotificationService
from integrations.users import UserService
from whispr.kernel.remote_service import remote_service

__all__ = [
    "BlobStore",
    "MediaService",
    "NotificationService",
    "UserService",
    "blob_store",
    "media_service",
    "notification_service",
    "user_service",
]


@cache
def blob_store(directory: Path) -> BlobStore:
    """The built-in store of encrypted media below `directory`."""
    return BlobStore(directory)


@cache
def media_service(directory: Path) -> MediaService:
    """The media service; the local one has its media below `directory`."""
    remote = remote_service("media_service")
    if remote is None:
        return LocalMedia(blob_store(directory))
    from integrations.grpc.media import GrpcMedia  # who calls no service need not load gRPC: 20 MB a process

    return GrpcMedia(remote)


@cache
def user_service() -> UserService:
    """The user service."""
    remote = remote_service("user_service")
    if remote is None:
        return LocalUsers()
    from integrations.grpc.users import GrpcUsers

    return GrpcUsers(remote)


@cache
def notification_service() -> NotificationService:
    """The notification service; the local one is a log of the pushes that staff see in the admin."""
    remote = remote_service("notification_service")
    if remote is None:
        return LocalNotifications()
    from integrations.grpc.notifications import GrpcNotifications

    return GrpcNotifications(remote)


@receiver(setting_changed)
def _choose_anew(**_: object) -> None:
    """Settings change in tests alone."""
    for choice in (blob_store, media_service, user_service, notification_service):
        choice.cache_clear()
