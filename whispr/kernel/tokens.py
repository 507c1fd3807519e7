"""Tokens made here: for development and tests only. In production the auth service signs them (docs/protocol.md §1)."""

import time
import uuid

import jwt
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from whispr.kernel.auth import SECRET_BYTES_MIN, SYMMETRIC_ALGORITHMS
from whispr.kernel.limits import LIMITS

DEFAULT_LIFETIME_SECONDS = 24 * 3600


def make_token(user_id: uuid.UUID, device_id: uuid.UUID, lifetime: int = DEFAULT_LIFETIME_SECONDS) -> str:
    """An HS256 token of `user_id` and `device_id`, valid from now for `lifetime` seconds.

    Raises ImproperlyConfigured where the server does not verify HS256 or has no secret of 32 bytes; ValueError for a
    nil id, and for a lifetime that is not within 1 … LIMITS.token_lifetime_max.
    """
    if not (settings.WHISPR_JWT_ALGORITHMS and SYMMETRIC_ALGORITHMS.issuperset(settings.WHISPR_JWT_ALGORITHMS)):
        raise ImproperlyConfigured("Tokens are made here only where WHISPR_JWT_ALGORITHMS is HS256 (development).")
    if len(settings.WHISPR_JWT_SECRET.encode()) < SECRET_BYTES_MIN:
        raise ImproperlyConfigured(f"WHISPR_JWT_SECRET is not set, or shorter than {SECRET_BYTES_MIN} bytes.")
    if not 1 <= lifetime <= LIMITS.token_lifetime_max:
        raise ValueError(f"The lifetime must be 1 to {LIMITS.token_lifetime_max} seconds.")
    if not (user_id.int and device_id.int):
        raise ValueError("The nil UUID is nobody: it has no token.")
    now = int(time.time())
    claims = {
        "sub": str(user_id),
        "device": str(device_id),
        "iss": settings.WHISPR_JWT_ISSUER,
        "aud": settings.WHISPR_JWT_AUDIENCE,
        "iat": now,
        "exp": now + lifetime,
        "jti": str(uuid.uuid4()),
    }
    return jwt.encode(claims, settings.WHISPR_JWT_SECRET, algorithm="HS256")


def development_device_id(user_id: uuid.UUID) -> uuid.UUID:
    """The device that `manage.py token USER` means without `--device`: always the same one of that user.

    So a client that is started again with a new token is the same device, and resumes from its last acknowledgement.
    """
    return uuid.uuid5(user_id, "development device")
