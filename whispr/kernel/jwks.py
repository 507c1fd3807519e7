"""The public keys of the token issuer: a JWKS fetched by a thread of its own, never by whoever verifies a token.

`key()` reads a map. An unknown `kid` asks for an early refresh and fails meanwhile, so that forged kids cost the issuer
at most one request every `EARLY_SECONDS` and cost us none.
"""

import json
import logging
import os
import random
import threading
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

log = logging.getLogger(__name__)

ASYMMETRIC_ALGORITHMS = frozenset({"RS256", "ES256", "EdDSA"})
SCHEMES = frozenset({"http", "https", "file"})
# A rotated key is known, and a withdrawn one forgotten, within this time.
REFRESH_SECONDS = 300.0
# The least time between two fetches, whatever kids arrive.
EARLY_SECONDS = 10.0
# How long the last good keys serve while the issuer is away: a night's outage, no more.
KEEP_SECONDS = 12 * 3600.0
BACKOFF_FIRST_SECONDS = 1.0
BACKOFF_MAX_SECONDS = 60.0
FETCH_SECONDS = 5.0
# 100 RSA keys with their certificates are about 300 KiB.
DOCUMENT_BYTES_MAX = 512 * 1024
KEYS_MAX = 100
KID_CHARS_MAX = 256
RSA_BITS = range(2048, 8193)  # below is broken (RFC 7518 §3.3), above is slow enough to be a burden


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A key with the only algorithm that it may verify: a secret's bytes, or a public key of `cryptography`."""

    algorithm: str
    key: Any


@dataclass(frozen=True, slots=True)
class _KeySet:
    keys: Mapping[str, VerificationKey]
    fetched_at: float  # monotonic seconds


class JwksError(Exception):
    """A key set could not be fetched, or holds no usable key."""


class JwksSource:
    """The keys of one URL, refreshed in the background.

    `url` comes from the settings only. Times are seconds and have their defaults above; tests shorten them.
    """

    def __init__(
        self,
        url: str,
        *,
        refresh_seconds: float = REFRESH_SECONDS,
        early_seconds: float = EARLY_SECONDS,
        keep_seconds: float = KEEP_SECONDS,
        fetch_seconds: float = FETCH_SECONDS,
        backoff_seconds: float = BACKOFF_FIRST_SECONDS,
    ) -> None:
        self.url = url
        self._refresh = refresh_seconds
        self._early = early_seconds
        self._keep = keep_seconds
        self._fetch = fetch_seconds
        self._backoff = backoff_seconds
        self._set: _KeySet | None = None
        self._condition = threading.Condition()
        self._thread: threading.Thread | None = None
        self._pid = 0
        self._stopped = False
        self._wanted = False  # an unknown kid was seen since the last fetch

    def key(self, kid: str) -> VerificationKey | None:
        """The key of `kid`, or None. Never waits; starts the background thread where nobody has."""
        if self._pid != os.getpid():
            self.start()  # first use, or the child of a fork, where threads do not follow
        found = self._fresh().get(kid)
        if found is None and not self._wanted and len(kid) <= KID_CHARS_MAX:
            with self._condition:
                self._wanted = True
                self._condition.notify_all()
        return found

    def _fresh(self) -> Mapping[str, VerificationKey]:
        current = self._set
        if current is None or time.monotonic() - current.fetched_at > self._keep:
            return {}
        return current.keys

    def has_keys(self) -> bool:
        """Whether there are keys that are not too old."""
        return bool(self._fresh())

    def start(self) -> None:
        """Start the thread, once a process. Does not wait for the first keys."""
        if self._pid == os.getpid():
            return
        if self._pid:
            self._condition = threading.Condition()  # the parent's may have been held when it forked
        with self._condition:
            if self._pid == os.getpid() or self._stopped:
                return
            self._pid = os.getpid()
            self._thread = threading.Thread(target=self._run, name="jwks", daemon=True)
            self._thread.start()

    def stop(self, timeout: float = 1.0) -> None:
        """End the thread; keys that are known stay. Waits up to `timeout` seconds for a fetch that is under way."""
        with self._condition:
            self._stopped = True
            self._condition.notify_all()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    def wait_ready(self, timeout: float) -> bool:
        """Start, and wait up to `timeout` seconds for the first keys. True when there are some."""
        self.start()
        with self._condition:
            return self._condition.wait_for(lambda: self.has_keys() or self._stopped, timeout) and self.has_keys()

    def _run(self) -> None:
        failures = 0
        while not self._stopped:
            attempted_at = time.monotonic()
            # A kid asked for before this moment is answered by this fetch, found or not.
            self._wanted = False
            try:
                keys = parse_jwks(fetch_document(self.url, self._fetch))
            except Exception as error:
                failures += 1
                log.warning("The JWKS of the token issuer could not be read (attempt %d): %s", failures, error)
                pause = min(self._backoff * 2 ** min(failures - 1, 16), BACKOFF_MAX_SECONDS, self._refresh)
            else:
                failures = 0
                with self._condition:
                    self._set = _KeySet(keys, time.monotonic())
                    self._condition.notify_all()
                pause = self._refresh
            self._pause(attempted_at, pause * random.uniform(0.9, 1.0))

    def _pause(self, attempted_at: float, seconds: float) -> None:
        with self._condition:
            while not self._stopped:
                due = seconds if not self._wanted else min(seconds, self._early)
                left = attempted_at + due - time.monotonic()
                if left <= 0:
                    return
                self._condition.wait(left)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The keys come from the configured address and from nowhere that it points to."""

    def redirect_request(self, *args: object, **kwargs: object) -> None:
        return None


def fetch_document(url: str, timeout: float) -> bytes:
    """The document at `url`, within `timeout` seconds a wait and twice that in all.

    Raises JwksError for another scheme than http, https and file, and for a document that is too large or too slow;
    OSError for what the network says.
    """
    if urlsplit(url).scheme not in SCHEMES:
        raise JwksError("only http, https and file addresses are read")
    deadline = time.monotonic() + 2 * timeout
    opener = urllib.request.build_opener(_NoRedirect())
    request = urllib.request.Request(url, headers={"Accept": "application/jwk-set+json, application/json"})
    data = bytearray()
    with opener.open(request, timeout=timeout) as response:
        while chunk := response.read1(65_536):
            data += chunk
            if len(data) > DOCUMENT_BYTES_MAX:
                raise JwksError(f"the document is larger than {DOCUMENT_BYTES_MAX} bytes")
            if time.monotonic() > deadline:
                raise JwksError("the document comes too slowly")
    return bytes(data)


def parse_jwks(document: bytes) -> dict[str, VerificationKey]:
    """The usable keys of a JWKS by `kid`. One that is not usable is left out and logged; none at all is a JwksError."""
    try:
        entries = json.loads(document)["keys"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise JwksError("the document is not a JWKS") from None
    if not isinstance(entries, list):
        raise JwksError("the document is not a JWKS")
    keys: dict[str, VerificationKey] = {}
    for entry in entries[:KEYS_MAX]:
        try:
            kid, key = _usable_key(entry)
        except (JwksError, jwt.PyJWTError, ValueError, TypeError, KeyError) as error:
            log.warning("A key of the JWKS is left out: %s", error)
            continue
        if kid in keys:
            log.warning("Two keys of the JWKS have one kid; the first is used")
            continue
        keys[kid] = key
    if not keys:
        raise JwksError("the JWKS holds no usable key")
    return keys


def _usable_key(entry: Any) -> tuple[str, VerificationKey]:
    if not isinstance(entry, dict):
        raise JwksError("it is not an object")
    kid = entry.get("kid")
    if not isinstance(kid, str) or not 0 < len(kid) <= KID_CHARS_MAX:
        raise JwksError("it has no kid")
    if "d" in entry:
        raise JwksError("it is a private key, published: withdraw it")
    if entry.get("use", "sig") != "sig" or "verify" not in entry.get("key_ops", ["verify"]):
        raise JwksError("it is not for signatures")
    algorithm = _algorithm_of(entry)
    if entry.get("alg", algorithm) != algorithm:
        raise JwksError("its alg is not one of RS256, ES256 and EdDSA, or is not its type's")
    key = jwt.PyJWK(entry, algorithm=algorithm).key
    if isinstance(key, RSAPublicKey) and key.key_size not in RSA_BITS:
        raise JwksError(f"an RSA key must have {RSA_BITS.start} to {RSA_BITS.stop - 1} bits")
    return kid, VerificationKey(algorithm, key)


def _algorithm_of(entry: Mapping[str, Any]) -> str:
    """The one algorithm of a key's type and curve; a shared secret (`oct`) has none here."""
    match entry.get("kty"), entry.get("crv"):
        case "RSA", None:
            return "RS256"
        case "EC", "P-256":
            return "ES256"
        case "OKP", "Ed25519":
            return "EdDSA"
        case _:
            raise JwksError("its type is not RSA, EC P-256 or Ed25519")
