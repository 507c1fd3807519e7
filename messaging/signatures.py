"""The device signature (docs/protocol.md "The device signature"): what is signed, and whether a signature is one.

Pure: no Django, no I/O. `tests/vectors/signatures.json` holds cases that Python and TypeScript both pass.
"""

import hashlib
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import rfc8785
from nacl import bindings, exceptions

PREFIX = b"whispr/msg/v1"
PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64


def envelope(
    *,
    conversation_id: UUID,
    sender_id: UUID,
    device_id: UUID,
    client_random: int,
    type: str,
    content: bytes,
    metadata: Mapping[str, Any],
    reply_to: UUID | None = None,
    target: UUID | None = None,
    media_id: str | None = None,
    ttl: int | None = None,
) -> bytes:
    """The bytes that the sending device signs: the prefix, then each field with its length (u32, big-endian).

    `ttl` is in seconds; `content` is the ciphertext, `metadata` is hashed in RFC 8785 canonical JSON. Raises ValueError
    for what cannot be canonical: an integer beyond 2^53 − 1, a number that is not finite, a lone surrogate;
    OverflowError for a `client_random` or `ttl` that is not an unsigned 64-bit integer.
    """
    fields = (
        conversation_id.bytes,
        sender_id.bytes,
        device_id.bytes,
        client_random.to_bytes(8, "big"),
        type.encode(),
        b"" if reply_to is None else reply_to.bytes,
        b"" if target is None else target.bytes,
        b"" if media_id is None else media_id.encode(),
        b"" if ttl is None else ttl.to_bytes(8, "big"),
        hashlib.sha256(content).digest(),
        hashlib.sha256(canonical_json(metadata)).digest(),
    )
    return PREFIX + b"".join(len(field).to_bytes(4, "big") + field for field in fields)


def canonical_json(metadata: Mapping[str, Any]) -> bytes:
    """`metadata` in RFC 8785 canonical JSON. Raises ValueError for what has no such form."""
    return rfc8785.dumps(dict(metadata))


def verify(public_key: bytes, envelope: bytes, signature: bytes) -> bool:
    """Whether `signature` is the Ed25519 signature of `envelope` under `public_key`.

    Never raises. libsodium refuses what RFC 8032 leaves open: S not below the group order (a second signature made from
    the first), points of small order, and points in a second spelling.
    """
    if len(public_key) != PUBLIC_KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    try:
        bindings.crypto_sign_open(signature + envelope, public_key)
    except exceptions.BadSignatureError:
        return False
    return True
