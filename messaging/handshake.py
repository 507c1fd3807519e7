"""The socket's handshake: where a websocket scope carries a token, and which origins may open one (docs/protocol.md
§2).

Everything here reads what a stranger wrote. It raises coded errors only, and nothing that is refused is repeated.
"""

import binascii
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from django.conf import settings
from django.http.request import split_domain_port, validate_host

from messaging.events import Actor
from messaging.services.sessions import session_open, session_open_with_ticket
from whispr.kernel.auth import TOKEN_CHARS_MAX, Claims
from whispr.kernel.errors import Forbidden, Unauthenticated

PHOENIX = "phoenix"
BEARER_PREFIX = "base64url.bearer.phx."
# vsn, ticket, token and what a client adds of its own.
QUERY_FIELDS_MAX = 32
_DEFAULT_PORTS = {"http": 80, "https": 443}
_LOCAL_HOSTS = [".localhost", "127.0.0.1", "[::1]"]  # Django's own where DEBUG is on and ALLOWED_HOSTS empty

Scope = Mapping[str, Any]


async def session_authenticate(scope: Scope) -> tuple[Actor, Claims, str | None]:
    """Who opens this socket, and the subprotocol to answer (`phoenix` where it was offered; never the token).

    The first of subprotocol, header, `ticket` and `token` that is there decides; a bad one is not mended by the next.
    Raises Forbidden for an origin that is not allowed, Unauthenticated and all of `session_open()` otherwise: the
    consumer refuses with HTTP 403 before the upgrade.
    """
    if not origin_allowed(scope):
        raise Forbidden("This origin may not open a socket.")
    offered = [name for name in scope.get("subprotocols") or () if isinstance(name, str)]
    subprotocol = PHOENIX if PHOENIX in offered else None
    token = _token_of_subprotocols(offered)
    if token is None:
        token = _token_of_header(scope)
    if token is not None:
        return *await session_open(token), subprotocol
    query = _query(scope)
    if "ticket" in query:
        return *await session_open_with_ticket(query["ticket"], _client_address(scope)), subprotocol
    if "token" in query and settings.WHISPR_ALLOW_QUERY_TOKEN:
        return *await session_open(query["token"]), subprotocol
    raise Unauthenticated()


def origin_allowed(scope: Scope) -> bool:
    """Whether the request's Origin may open a socket: none (native clients), an allowed one, or the page's own.

    Origins are compared whole: scheme, host and port. The page's own is what the Host header spells, where Host is one
    of ALLOWED_HOSTS: a name that an attacker points at this server is none.
    """
    origins = _headers(scope, b"origin")
    if not origins:
        return True
    origin = _parse_origin(origins[0]) if len(origins) == 1 else None
    if origin is None:
        return False
    return origin in map(_parse_origin, settings.WHISPR_ALLOWED_ORIGINS) or origin == _own_origin(scope)


def _parse_origin(text: str) -> tuple[str, str, int | None] | None:
    """(scheme, host, port) of an origin; None for `null` and for what is more or less than an origin."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return None
    if not parts.scheme or not parts.hostname or parts.path or parts.query or parts.fragment or "@" in parts.netloc:
        return None
    if text != text.strip() or not text.isprintable() or text.endswith(("?", "#", ":")):
        return None
    return parts.scheme, parts.hostname, port if port is not None else _DEFAULT_PORTS.get(parts.scheme)


def _own_origin(scope: Scope) -> tuple[str, str, int | None] | None:
    hosts = _headers(scope, b"host")
    if len(hosts) != 1:
        return None
    domain, _ = split_domain_port(hosts[0])
    allowed = settings.ALLOWED_HOSTS or (_LOCAL_HOSTS if settings.DEBUG else [])
    if not domain or not validate_host(domain, allowed):
        return None
    return _parse_origin(f"{'https' if _is_secure(scope) else 'http'}://{hosts[0]}")


def _is_secure(scope: Scope) -> bool:
    """Whether the client speaks TLS: here, or with the proxy that SECURE_PROXY_SSL_HEADER trusts."""
    if scope.get("scheme") in ("wss", "https"):
        return True
    trusted: tuple[str, str] | None = getattr(settings, "SECURE_PROXY_SSL_HEADER", None)
    if trusted is None:
        return False
    name = trusted[0].removeprefix("HTTP_").replace("_", "-").lower().encode()
    return [value.split(",")[0].strip() for value in _headers(scope, name)] == [trusted[1]]


def _token_of_subprotocols(offered: list[str]) -> str | None:
    """The token in `base64url.bearer.phx.<token>`, either base64 alphabet, padded or not; None where there is none."""
    found = [name for name in offered if name.startswith(BEARER_PREFIX)]
    if not found:
        return None
    text = found[0].removeprefix(BEARER_PREFIX)
    if len(found) > 1 or len(text) > TOKEN_CHARS_MAX * 4 // 3 + 4:
        raise Unauthenticated()
    standard = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return binascii.a2b_base64(standard + "=" * (-len(standard) % 4), strict_mode=True).decode("ascii")
    except ValueError:  # binascii.Error, UnicodeError, and text beyond ASCII
        raise Unauthenticated() from None


def _token_of_header(scope: Scope) -> str | None:
    """The token of `Authorization: Bearer`; None where the header is absent or of another scheme."""
    values = _headers(scope, b"authorization")
    if len(values) > 1:
        raise Unauthenticated()
    if not values:
        return None
    scheme, _, token = values[0].partition(" ")
    return token.strip(" ") if scheme.lower() == "bearer" else None


def _query(scope: Scope) -> dict[str, str]:
    """The query's fields; one given twice, too many, or bytes that are no text give Unauthenticated."""
    try:
        pairs = parse_qsl(
            bytes(scope.get("query_string") or b"").decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=QUERY_FIELDS_MAX,
        )
    except ValueError:
        raise Unauthenticated() from None
    query = dict(pairs)
    if len(query) != len(pairs):
        raise Unauthenticated()
    return query


def _client_address(scope: Scope) -> str | None:
    """The peer of the connection. No header is asked: whoever connects directly could write it."""
    client = scope.get("client")
    return client[0] if client and isinstance(client[0], str) else None


def _headers(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope.get("headers") or () if key.lower() == name]
