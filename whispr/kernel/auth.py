"""One verifier of bearer tokens for the socket and REST (docs/protocol.md §1).

`verify_token()` never does I/O: keys of a JWKS are fetched in the background by `whispr.kernel.jwks`. A key is bound to
one algorithm when it is loaded, so the token's header chooses nothing: no algorithm, and no place to get a key from.
"""

import logging
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

import jwt
import msgspec
from django.conf import settings
from django.core.signals import setting_changed

from whispr.kernel.errors import Unauthenticated
from whispr.kernel.jwks import ASYMMETRIC_ALGORITHMS, JwksSource, VerificationKey
from whispr.kernel.limits import LIMITS

log = logging.getLogger(__name__)

SYMMETRIC_ALGORITHMS = frozenset({"HS256"})
# RFC 7518 §3.2: a key of HS256 has at least the 256 bits of its hash.
SECRET_BYTES_MIN = 32
# A token of RS256 with our claims is about 900 characters; the rest is room for an issuer's own claims.
TOKEN_CHARS_MAX = 8 * 1024
JTI_CHARS_MAX = 128
# Base64url without padding, three parts, nothing else: no white space, no second spelling.
_COMPACT_JWS = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)
# Header members by which a token would bring its own key, or ask for an extension that is not known here.
_FORBIDDEN_HEADERS = frozenset({"jku", "jwk", "x5u", "x5c", "x5t", "x5t#S256", "crit", "b64", "zip", "enc"})
_TYPES = frozenset({"jwt", "at+jwt", "application/jwt", "application/at+jwt"})
# What issuers call an access token, where they say it at all; "refresh" and "id" tokens are not for us.
_USES = frozenset({"access", "access_token", "bearer", "jwt", "at+jwt"})
_NIL = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Claims:
    """What a valid token proves. Times are unix seconds; `expires_at` is when the token stops being one."""

    user_id: UUID
    device_id: UUID
    expires_at: int
    issued_at: int
    jti: str


class _Payload(msgspec.Struct):
    """The claims' types: PyJWT checks their values, and would take `"17"` or `17.5` for a time."""

    sub: UUID
    device: UUID
    iss: str
    aud: str | list[str]
    iat: int | float
    exp: int | float
    jti: str
    nbf: int | float | None = None
    typ: str | None = None
    token_type: str | None = None
    token_use: str | None = None


class _Keys(Protocol):
    def find(self, header: Mapping[str, Any]) -> VerificationKey | None: ...


class _SharedSecret:
    """The one key of HS256. A `kid` is refused: there is nothing to choose from."""

    def __init__(self, secret: str) -> None:
        self._key = VerificationKey("HS256", secret.encode())

    def find(self, header: Mapping[str, Any]) -> VerificationKey | None:
        return None if "kid" in header else self._key


class _PublicKeys:
    """The keys of a JWKS, chosen by `kid` from a map that only the background refresh changes."""

    def __init__(self, source: JwksSource, algorithms: frozenset[str]) -> None:
        self.source = source
        self._algorithms = algorithms

    def find(self, header: Mapping[str, Any]) -> VerificationKey | None:
        kid = header.get("kid")
        if not isinstance(kid, str):
            return None
        key = self.source.key(kid)
        return key if key is not None and key.algorithm in self._algorithms else None


class _Verifier:
    """The verifier that the settings describe. Settings that make no sense give one that refuses every token."""

    def __init__(self) -> None:
        self.issuer: str = settings.WHISPR_JWT_ISSUER
        self.audience: str = settings.WHISPR_JWT_AUDIENCE
        self.keys = _keys_of_settings()

    def verify(self, token: str) -> Claims:
        if len(token) > TOKEN_CHARS_MAX or _COMPACT_JWS.fullmatch(token) is None:
            raise Unauthenticated()
        if self.keys is None or not self.issuer or not self.audience:
            raise Unauthenticated("This server has no usable token settings.")
        try:
            header = jwt.get_unverified_header(token)
            self._check_header(header)
            key = self.keys.find(header)
            if key is None:
                raise Unauthenticated()
            payload = jwt.decode(
                token,
                key.key,
                algorithms=[key.algorithm],  # the key's, never the header's
                audience=self.audience,
                issuer=self.issuer,
                leeway=LIMITS.token_leeway,
                options={"require": ["exp", "iat", "sub", "aud", "iss", "jti", "device"]},
            )
            claims = msgspec.convert(payload, _Payload)
        except (jwt.PyJWTError, msgspec.ValidationError, ValueError, TypeError, OverflowError, RecursionError):
            # One answer for all: what is wrong with a token is not told to whoever sends it.
            raise Unauthenticated() from None
        return _checked(claims, payload)

    @staticmethod
    def _check_header(header: Mapping[str, Any]) -> None:
        if not _FORBIDDEN_HEADERS.isdisjoint(header):
            raise Unauthenticated()
        kind = header.get("typ", "JWT")
        if not isinstance(kind, str) or kind.lower() not in _TYPES:
            raise Unauthenticated()


def _checked(claims: _Payload, payload: Mapping[str, Any]) -> Claims:
    now = time.time()
    for use in (claims.typ, claims.token_type, claims.token_use):
        if use is not None and use.lower() not in _USES:
            raise Unauthenticated()
    if payload.get("type") == "refresh" or _NIL in (claims.sub, claims.device):
        raise Unauthenticated()
    if not 0 < len(claims.jti) <= JTI_CHARS_MAX:
        raise Unauthenticated()
    # A token without an end, or for a hundred years, is one that cannot be taken back.
    if claims.exp - claims.iat > LIMITS.token_lifetime_max or claims.exp <= claims.iat:
        raise Unauthenticated()
    if claims.exp - now > LIMITS.token_lifetime_max + LIMITS.token_leeway:
        raise Unauthenticated()
    return Claims(claims.sub, claims.device, int(claims.exp), int(claims.iat), claims.jti)


def _keys_of_settings() -> _Keys | None:
    algorithms = frozenset(settings.WHISPR_JWT_ALGORITHMS)
    if algorithms and algorithms <= SYMMETRIC_ALGORITHMS:
        secret: str = settings.WHISPR_JWT_SECRET
        if len(secret.encode()) >= SECRET_BYTES_MIN:
            return _SharedSecret(secret)
        log.error("WHISPR_JWT_SECRET is missing or shorter than %d bytes: every token is refused", SECRET_BYTES_MIN)
        return None
    if algorithms and algorithms <= ASYMMETRIC_ALGORITHMS:
        if settings.WHISPR_JWT_JWKS_URL:
            return _PublicKeys(JwksSource(settings.WHISPR_JWT_JWKS_URL), algorithms)
        log.error("WHISPR_JWT_JWKS_URL is missing: every token is refused")
        return None
    log.error("WHISPR_JWT_ALGORITHMS must be HS256 alone, or any of RS256, ES256 and EdDSA: every token is refused")
    return None


_lock = threading.Lock()
_verifier: _Verifier | None = None


def _current() -> _Verifier:
    global _verifier
    verifier = _verifier
    if verifier is None:
        with _lock:
            verifier = _verifier
            if verifier is None:
                verifier = _verifier = _Verifier()
    return verifier


def verify_token(token: str) -> Claims:
    """What `token` proves, or Unauthenticated (docs/protocol.md §1).

    Synchronous, without I/O: an unknown `kid` fails here and asks the background for one early refresh. Takes tens of
    microseconds. Every reason gives the same answer.
    """
    return _current().verify(token)


def start() -> None:
    """Begin fetching the keys of the JWKS, where there is one, without waiting. Safe to call again."""
    keys = _current().keys
    if isinstance(keys, _PublicKeys):
        keys.source.start()


def stop() -> None:
    """Stop the background refresh and forget the settings; the next use reads them again."""
    global _verifier
    with _lock:
        verifier, _verifier = _verifier, None
    if verifier is not None and isinstance(verifier.keys, _PublicKeys):
        verifier.keys.source.stop()


def wait_ready(timeout: float) -> bool:
    """Wait up to `timeout` seconds for the first keys; True when tokens can be verified. Blocks: for a thread."""
    keys = _current().keys
    if isinstance(keys, _PublicKeys):
        return keys.source.wait_ready(timeout)
    return keys is not None


def ready() -> bool:
    """Whether tokens can be verified now: a secret is set, or the JWKS gave keys that are not too old."""
    keys = _current().keys
    return keys.source.has_keys() if isinstance(keys, _PublicKeys) else keys is not None


def _forget(*, setting: str, **_: object) -> None:
    if setting.startswith("WHISPR_JWT_"):
        stop()


setting_changed.connect(_forget, dispatch_uid="whispr.kernel.auth")
