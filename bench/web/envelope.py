"""Messages that the web client can read: the envelope of sdk/packages/client/src/encryption/envelope.ts, signed.

HPKE (RFC 9180) in base mode: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM. One thing is done that no sender
does: the sender's ephemeral key is drawn once a conversation instead of once a message, which makes 50,000 of them in
seconds. Reading one costs the page what any other costs.
"""

import hashlib
import hmac
import json
import os
import random
from dataclasses import dataclass
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bench.exchange import CLIENT_RANDOM_BITS
from bench.log import Written
from bench.target import Identity
from messaging import signatures

_KEM = b"KEM" + (0x0020).to_bytes(2, "big")
_SUITE = b"HPKE" + b"".join(number.to_bytes(2, "big") for number in (0x0020, 0x0001, 0x0002))
_BASE_MODE = b"\0"


def _extract(suite: bytes, label: bytes, secret: bytes, salt: bytes = b"") -> bytes:
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + secret, "sha256")


def _expand(suite: bytes, label: bytes, key: bytes, info: bytes, length: int) -> bytes:
    """As many bytes as one block of HKDF has, at most: nothing here needs more."""
    labelled = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    return hmac.digest(key, labelled + b"\1", "sha256")[:length]


_EMPTY_PSK_ID = _extract(_SUITE, b"psk_id_hash", b"")


def _packed(prefix: bytes, *fields: bytes) -> bytes:
    return prefix + b"".join(len(field).to_bytes(4, "big") + field for field in fields)


@dataclass
class Writer:
    """A sender's device in one conversation, and the one device that reads it."""

    sender: Identity
    signing: Ed25519PrivateKey
    conversation_id: UUID
    reader: UUID
    reader_key: bytes

    def __post_init__(self) -> None:
        ephemeral = X25519PrivateKey.generate()
        self._enc = ephemeral.public_key().public_bytes_raw()
        shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(self.reader_key))
        prk = _extract(_KEM, b"eae_prk", shared)
        self._shared = _expand(_KEM, b"shared_secret", prk, self._enc + self.reader_key, 32)

    def write(self, text: str) -> Written:
        """A text message, sealed and signed."""
        client_random = random.getrandbits(CLIENT_RANDOM_BITS)
        plaintext = json.dumps({"v": 1, "text": text}, separators=(",", ":"), ensure_ascii=False).encode()
        content = self._seal(client_random, plaintext)
        signed = signatures.envelope(
            conversation_id=self.conversation_id,
            sender_id=self.sender.user_id,
            device_id=self.sender.device_id,
            client_random=client_random,
            type="text",
            content=content,
            metadata={},
        )
        return Written(content, client_random, self.signing.sign(signed))

    def _seal(self, client_random: int, plaintext: bytes) -> bytes:
        ids = (self.conversation_id, self.sender.user_id, self.sender.device_id)
        binding = _packed(b"whispr/enc/v1", b"message", *(id_.bytes for id_ in ids), client_random.to_bytes(8, "big"))
        secret = os.urandom(32)
        head = b"\1\1" + (1).to_bytes(2, "big") + self.reader.bytes + self._enc + self._wrap(secret, binding)
        nonce = os.urandom(12)
        aad = _packed(b"whispr/enc/v1/content", binding, hashlib.sha256(head).digest())
        return head + nonce + AESGCM(secret).encrypt(nonce, plaintext, aad)

    def _wrap(self, secret: bytes, info: bytes) -> bytes:
        context = _BASE_MODE + _EMPTY_PSK_ID + _extract(_SUITE, b"info_hash", info)
        derived = _extract(_SUITE, b"secret", b"", self._shared)
        key = _expand(_SUITE, b"key", derived, context, 32)
        nonce = _expand(_SUITE, b"base_nonce", derived, context, 12)
        return AESGCM(key).encrypt(nonce, secret, self.reader.bytes)
