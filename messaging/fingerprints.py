"""The fingerprint of a send: what must be equal for a second request under the same key to be the same message
(docs/protocol.md §8.2). Pure: no Django, no I/O."""

import hashlib
import struct
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec


def send_fingerprint(
    *,
    conversation_id: UUID,
    type: str,
    content: bytes,
    metadata: Mapping[str, Any],
    reply_to: UUID | None,
    target: UUID | None,
    media_id: str | None,
    ttl: int | None,
    ttl_start: str,
) -> bytes:
    """SHA-256 over the fields, each with its length. `metadata` counts by its value, in whatever order."""
    parts = (
        conversation_id.bytes,
        type.encode(),
        content,
        msgspec.json.encode(metadata, order="deterministic") if metadata else b"{}",
        reply_to.bytes if reply_to else b"",
        target.bytes if target else b"",
        (media_id or "").encode(),
        str(ttl or "").encode(),
        ttl_start.encode(),
    )
    lengths = struct.pack(f">{len(parts)}I", *map(len, parts))
    return hashlib.sha256(lengths + b"".join(parts)).digest()
