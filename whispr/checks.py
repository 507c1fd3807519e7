"""System checks: a missing or dangerous setting, in one sentence, with what to do (`manage.py check`).

The serving processes call `require_serving_settings()`: what would make them serve nobody, or everybody, stops them.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from urllib.parse import urlsplit

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
from django.core.exceptions import ImproperlyConfigured

from whispr.kernel import failpoints
from whispr.kernel.auth import SECRET_BYTES_MIN, SYMMETRIC_ALGORITHMS
from whispr.kernel.jwks import ASYMMETRIC_ALGORITHMS, SCHEMES
from whispr.kernel.remote_service import remote_services
from whispr.kernel.service_entry import service_entry
from whispr.value_checks import addresses, debugging, is_local, limits

SIGNATURE_MODES = ("required", "optional", "off")
TRACE_MODES = ("off", "sampled", "all")
# Django's own check (security.W009) asks for 50 characters of a SECRET_KEY.
SECRET_KEY_CHARS_MIN = 50
# Missing, they are no matter for `manage.py token` or `makemigrations`, but nothing is served without them.
NEEDED_TO_SERVE = frozenset({"whispr.W001", "whispr.W002", "whispr.W003"})

Messages = Iterator[CheckMessage]


def check_settings(app_configs: Sequence[AppConfig] | None = None, **kwargs: object) -> list[CheckMessage]:
    """Every message about the settings in force."""
    parts: tuple[Callable[[], Messages], ...] = (
        _servers,
        addresses,
        limits,
        debugging,
        _tokens,
        _jwks,
        _development,
        _origins,
        _signatures,
        _trace,
        _grpc,
        _services,
        _failpoints,
    )
    return [message for part in parts for message in part()]


def require_serving_settings() -> None:
    """For asgi.py, the Celery worker and beat: raise ImproperlyConfigured with every reason not to serve."""
    reasons = [
        f"{message.msg} {message.hint or ''}".strip()
        for message in check_settings()
        if message.level >= Error("").level or message.id in NEEDED_TO_SERVE
    ]
    if reasons:
        raise ImproperlyConfigured("This server does not start:\n- " + "\n- ".join(reasons))


def _servers() -> Messages:
    # The settings' defaults do not count: they would send a forgotten variable to whatever listens on this machine.
    if not _secret_key():
        yield Warning(
            "WHISPR_SECRET_KEY is not set: serving processes do not start.",
            hint="Set it to 50 or more random characters, the same for all processes; script/server makes its own.",
            id="whispr.W001",
        )
    elif len(_secret_key()) < SECRET_KEY_CHARS_MIN and not settings.DEBUG:
        yield Warning(
            f"WHISPR_SECRET_KEY is shorter than {SECRET_KEY_CHARS_MIN} characters: admin sessions can be forged.",
            hint="Set it to 50 or more random characters.",
            id="whispr.W004",
        )
    if not settings.DATABASE_URL:
        yield Warning(
            "DATABASE_URL is not set: serving processes do not start.",
            hint="Set it to postgres://user:password@host:port/name, or start script/server, which brings its own.",
            id="whispr.W002",
        )
    if not settings.REDIS_URL:
        yield Warning(
            "REDIS_URL is not set: serving processes do not start.",
            hint="Set it to redis://host:port/number, or start script/server, which brings its own.",
            id="whispr.W003",
        )


def _secret_key() -> str:
    try:
        return str(settings.SECRET_KEY)
    except ImproperlyConfigured:  # Django's own answer to an empty one
        return ""


def _tokens() -> Messages:
    algorithms = set(settings.WHISPR_JWT_ALGORITHMS)
    if not algorithms or algorithms - SYMMETRIC_ALGORITHMS - ASYMMETRIC_ALGORITHMS:
        yield Error(
            "WHISPR_JWT_ALGORITHMS names no algorithm, or one that is not accepted: every token is refused.",
            hint="Set it to HS256 (development), or to any of RS256, ES256 and EdDSA, separated by commas.",
            id="whispr.E001",
        )
    elif algorithms & SYMMETRIC_ALGORITHMS and algorithms & ASYMMETRIC_ALGORITHMS:
        yield Error(
            "WHISPR_JWT_ALGORITHMS mixes HS256 with public-key algorithms: a public key could pass for the secret.",
            hint="Name one family: HS256 alone, or any of RS256, ES256 and EdDSA.",
            id="whispr.E002",
        )
    elif algorithms & SYMMETRIC_ALGORITHMS:
        yield from _shared_secret()
    if not settings.WHISPR_JWT_ISSUER or not settings.WHISPR_JWT_AUDIENCE:
        yield Error(
            "WHISPR_JWT_ISSUER or WHISPR_JWT_AUDIENCE is empty: every token is refused.",
            hint="Set them to the `iss` and `aud` of the auth service's tokens.",
            id="whispr.E003",
        )


def _shared_secret() -> Messages:
    if not settings.WHISPR_JWT_SECRET:
        yield Warning(
            "WHISPR_JWT_SECRET is not set: with HS256 every token is refused.",
            hint="Set it to 32 or more random bytes (development), or set WHISPR_JWT_JWKS_URL and its algorithms.",
            id="whispr.W005",
        )
    elif len(settings.WHISPR_JWT_SECRET.encode()) < SECRET_BYTES_MIN:
        yield Error(
            f"WHISPR_JWT_SECRET is shorter than {SECRET_BYTES_MIN} bytes: it can be guessed from a single token.",
            hint='Make one with: python -c "import secrets; print(secrets.token_urlsafe(48))"',
            id="whispr.E004",
        )
    if not settings.DEBUG and not settings.WHISPR_DEV_LOGIN:
        yield Warning(
            "Tokens are verified with a shared secret (HS256): whoever holds it can be any user.",
            hint="In production set WHISPR_JWT_ALGORITHMS to RS256, ES256 or EdDSA and WHISPR_JWT_JWKS_URL.",
            id="whispr.W006",
        )


def _jwks() -> Messages:
    if not set(settings.WHISPR_JWT_ALGORITHMS) & ASYMMETRIC_ALGORITHMS:
        return
    url = settings.WHISPR_JWT_JWKS_URL
    if not url:
        yield Error(
            "WHISPR_JWT_JWKS_URL is not set, and WHISPR_JWT_ALGORITHMS needs public keys: every token is refused.",
            hint="Set it to the address of the auth service's key set (JWKS).",
            id="whispr.E005",
        )
        return
    try:
        parts = urlsplit(url)
        scheme, host = parts.scheme, parts.hostname
    except ValueError:
        scheme, host = "", None
    if scheme not in SCHEMES or (scheme != "file" and not host):
        yield Error(
            "WHISPR_JWT_JWKS_URL is not an http, https or file address: every token is refused.",
            hint="Set it to the whole address, as https://auth.example.org/.well-known/jwks.json.",
            id="whispr.E006",
        )
    elif scheme == "http" and host is not None and not is_local(host):
        yield Warning(
            "WHISPR_JWT_JWKS_URL is plain http: whoever is on the way can put keys of their own in it.",
            hint="Use https.",
            id="whispr.W007",
        )


def _development() -> Messages:
    if settings.WHISPR_ALLOW_QUERY_TOKEN:
        yield Warning(
            "WHISPR_ALLOW_QUERY_TOKEN is on: tokens in addresses end in access logs and histories.",
            hint="Unset it; clients that can set neither a subprotocol nor a header use a socket ticket.",
            id="whispr.W008",
        )
    if not settings.WHISPR_DEV_LOGIN:
        return
    if not all(is_local(host) for host in settings.ALLOWED_HOSTS):
        yield Warning(
            "WHISPR_DEV_LOGIN is on and WHISPR_ALLOWED_HOSTS names other hosts than this one: anybody can be any user.",
            hint="Unset WHISPR_DEV_LOGIN, or leave WHISPR_ALLOWED_HOSTS at its default.",
            id="whispr.W009",
        )
    if not settings.WHISPR_JWT_SECRET or set(settings.WHISPR_JWT_ALGORITHMS) != SYMMETRIC_ALGORITHMS:
        yield Warning(
            "WHISPR_DEV_LOGIN is on, but this server cannot make tokens: the sign-in answers 404.",
            hint="Set WHISPR_JWT_ALGORITHMS=HS256 and WHISPR_JWT_SECRET, or unset WHISPR_DEV_LOGIN.",
            id="whispr.W010",
        )


def _origins() -> Messages:
    for origin in settings.WHISPR_ALLOWED_ORIGINS:
        if "*" in origin or origin == "null":
            yield Error(
                f"WHISPR_ALLOWED_ORIGINS holds {origin!r}: any page could open sockets, so it is never matched.",
                hint="Name each origin whole, as https://chat.example.org.",
                id="whispr.E007",
            )
        elif not _is_origin(origin):
            yield Error(
                f"WHISPR_ALLOWED_ORIGINS holds {origin!r}, which is not an origin and never matches.",
                hint="An origin is scheme://host or scheme://host:port, without a path or a final slash.",
                id="whispr.E008",
            )
    if "*" in settings.ALLOWED_HOSTS and not settings.DEBUG:
        yield Warning(
            "WHISPR_ALLOWED_HOSTS holds '*': a page of any name that points here counts as this server's own.",
            hint="Name the hosts that this server is reached by.",
            id="whispr.W011",
        )


def _signatures() -> Messages:
    if settings.WHISPR_SIGNATURES not in SIGNATURE_MODES:
        yield Error(
            f"WHISPR_SIGNATURES is {settings.WHISPR_SIGNATURES!r}.",
            hint="Set it to required (production), optional (development) or off.",
            id="whispr.E009",
        )
    elif settings.WHISPR_SIGNATURES == "off" and not settings.DEBUG and not settings.WHISPR_DEV_LOGIN:
        yield Warning(
            "WHISPR_SIGNATURES is off: recipients cannot tell which device wrote a message.",
            hint="Set it to required.",
            id="whispr.W012",
        )


def _trace() -> Messages:
    if settings.WHISPR_TRACE not in TRACE_MODES:
        yield Error(
            f"WHISPR_TRACE is {settings.WHISPR_TRACE!r}.",
            hint="Set it to off, sampled or all.",
            id="whispr.E010",
        )


def _grpc() -> Messages:
    refusal = service_entry().refusal()
    if refusal is not None:
        yield Error(refusal[0], hint=refusal[1], id="whispr.E011")


def _failpoints() -> Messages:
    if not failpoints.asked(os.environ):
        return
    if not failpoints.allowed(os.environ):
        yield Error(
            "WHISPR_FAILPOINTS or WHISPR_FAILPOINTS_FILE is set: they make this server fail on purpose.",
            hint="Unset them. A test's own server sets WHISPR_ALLOW_FAILPOINTS=1 beside them.",
            id="whispr.E020",
        )
    else:
        yield Warning(
            "Failpoints can be armed in this process: it may fail on purpose.",
            hint="Unset WHISPR_FAILPOINTS, WHISPR_FAILPOINTS_FILE and WHISPR_ALLOW_FAILPOINTS outside of tests.",
            id="whispr.W020",
        )


def _services() -> Messages:
    told = set()  # the files of TLS are the same for all three
    for remote in remote_services().values():
        refusal, danger = remote.refusal(), remote.danger()
        if refusal is not None and refusal not in told:
            told.add(refusal)
            yield Error(refusal[0], hint=refusal[1], id="whispr.E013")
        if refusal is None and danger is not None:
            yield Warning(danger[0], hint=danger[1], id="whispr.W013")
    if not remote_services() and (
        settings.WHISPR_SERVICES_CA or settings.WHISPR_SERVICES_CERT or settings.WHISPR_SERVICES_KEY
    ):
        yield Warning(
            "WHISPR_SERVICES_CA, …_CERT or …_KEY is set and no service is: this server answers for them itself.",
            hint="Set WHISPR_USER_SERVICE, WHISPR_MEDIA_SERVICE or WHISPR_NOTIFICATION_SERVICE, or unset them.",
            id="whispr.W014",
        )


def _is_origin(origin: str) -> bool:
    try:
        parts = urlsplit(origin)
        _ = parts.port
    except ValueError:
        return False
    return bool(parts.scheme and parts.hostname) and f"{parts.scheme}://{parts.netloc}".lower() == origin.lower()
