"""System checks of values that have to fit to each other or to what they name (`whispr/checks.py`)."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning

from whispr.kernel.addresses import is_loopback
from whispr.kernel.limits import AT_LEAST_ONE, LIMITS, Limits

Messages = Iterator[CheckMessage]

DATABASE_SCHEMES = ("postgres", "postgresql")
REDIS_SCHEMES = ("redis", "rediss", "unix")
# docs/protocol.md §8.8: ten, of which one is for the way to the client and back.
REQUEST_SECONDS_MAX = 9
# Of a frame: names, ids, a signature and brackets around content and metadata.
ENVELOPE_BYTES = 2_048


def addresses() -> Messages:
    """The database and Redis, where they are set: each is of its kind."""
    if settings.DATABASE_URL and not _names(settings.DATABASE_URL, DATABASE_SCHEMES, has_path=True):
        yield Error(
            "DATABASE_URL is not the address of a PostgreSQL database.",
            hint="Set it to postgres://user:password@host:port/name.",
            id="whispr.E014",
        )
    if settings.REDIS_URL and not _names(settings.REDIS_URL, REDIS_SCHEMES, has_path=False):
        yield Error(
            "REDIS_URL is not the address of a Redis or Valkey.",
            hint="Set it to redis://host:port/number, or rediss:// for TLS.",
            id="whispr.E015",
        )


def _names(url: str, schemes: tuple[str, ...], *, has_path: bool) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    path = parts.path.strip("/")
    return parts.scheme in schemes and (bool(path) if has_path or parts.scheme == "unix" else bool(parts.hostname))


def is_local(host: str) -> bool:
    """Whether a name that a browser or a test uses means this machine: `testserver` is Django's test client."""
    return host == "testserver" or host.endswith(".localhost") or is_loopback(host)


def debugging() -> Messages:
    """The debug pages."""
    if settings.DEBUG and not all(is_local(host) for host in settings.ALLOWED_HOSTS):
        yield Warning(
            "WHISPR_DEBUG is on and WHISPR_ALLOWED_HOSTS names other hosts than this one: errors show the code.",
            hint="Unset WHISPR_DEBUG.",
            id="whispr.W015",
        )


def limits() -> Messages:
    """The limits that nothing works without, and those that have to fit into others."""
    for name in AT_LEAST_ONE:
        if getattr(LIMITS, name) < 1:
            yield Error(
                f"WHISPR_{name.upper()} is 0: with that nothing passes, or something waits for ever.",
                hint=f"Unset it for its default, {getattr(Limits(), name)}, or set it to 1 or more.",
                id="whispr.E016",
            )
    room = LIMITS.frame_bytes - LIMITS.metadata_bytes - ENVELOPE_BYTES
    if LIMITS.content_bytes * 4 > room * 3:  # base64
        yield Warning(
            "WHISPR_CONTENT_BYTES does not fit into WHISPR_FRAME_BYTES as base64: the largest messages are refused.",
            hint="Raise WHISPR_FRAME_BYTES, or lower WHISPR_CONTENT_BYTES to less than three quarters of it.",
            id="whispr.W016",
        )
    if LIMITS.request_seconds > REQUEST_SECONDS_MAX:
        yield Warning(
            f"WHISPR_REQUEST_SECONDS is over {REQUEST_SECONDS_MAX}: clients are promised an answer within 10 seconds.",
            hint="Unset it.",
            id="whispr.W017",
        )
