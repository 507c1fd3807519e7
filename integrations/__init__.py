"""The services around the core: users and media (specification §9; the notification service comes with its pushes).

One interface each (`users.py`, `media.py`), in the core's own frozen values and coded errors, without a word of Django
or of gRPC: behind it stands the local answer (`local/`), which works from this system's own tables and disk. Whoever
needs a service asks here for it, so that where it is chosen is one place.
"""

from functools import cache
from pathlib import Path

from integrations.local.blobs import BlobStore
from integrations.local.media import LocalMedia
from integrations.local.users import LocalUsers
from integrations.media import MediaService
from integrations.users import UserService

__all__ = ["BlobStore", "MediaService", "UserService", "blob_store", "media_service", "user_service"]


@cache
def blob_store(directory: Path) -> BlobStore:
    """The built-in store of encrypted media below `directory`."""
    return BlobStore(directory)


@cache
def media_service(directory: Path) -> MediaService:
    """The media service: the local answer, whose media are below `directory`."""
    return LocalMedia(blob_store(directory))


@cache
def user_service() -> UserService:
    """The user service: the local answer."""
    return LocalUsers()
