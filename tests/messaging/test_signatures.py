"""The device signature, on the golden cases that TypeScript passes too, and on what they cannot say."""

import base64
import json
import os
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from nacl.signing import SigningKey

from messaging.signatures import canonical_json, envelope, verify

CASES = json.loads((Path(__file__).parents[1] / "vectors" / "signatures.json").read_text())["cases"]
GOOD = [case for case in CASES if case["valid"]]
BAD = [case for case in CASES if not case["valid"]]


def envelope_of(given: dict) -> bytes:
    return envelope(
        conversation_id=UUID(given["conversationId"]),
        sender_id=UUID(given["senderId"]),
        device_id=UUID(given["deviceId"]),
        client_random=given["clientRandom"],
        type=given["type"],
        content=base64.b64decode(given["content"]),
        metadata=given["metadata"],
        reply_to=given["replyTo"] and UUID(given["replyTo"]),
        target=given["target"] and UUID(given["target"]),
        media_id=given["mediaId"],
        ttl=given["ttl"],
    )


def verified(case: dict) -> bool:
    return verify(
        base64.b64decode(case["publicKey"]), bytes.fromhex(case["envelope"]), base64.b64decode(case["signature"])
    )


def test_the_vectors_are_there():
    assert len(GOOD) >= 15
    assert len(BAD) >= 20


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_the_envelope_is_the_golden_one(case):
    assert canonical_json(case["input"]["metadata"]).decode() == case["canonicalMetadata"]
    assert envelope_of(case["input"]).hex() == case["envelope"]


@pytest.mark.parametrize("case", GOOD, ids=lambda case: case["name"])
def test_a_good_signature_verifies(case):
    assert verified(case)
    # Ed25519 signs the same bytes the same way each time (RFC 8032 §5.1.6).
    signed = SigningKey(bytes.fromhex(case["seed"])).sign(bytes.fromhex(case["envelope"])).signature
    assert base64.b64encode(signed).decode() == case["signature"]


@pytest.mark.parametrize("case", BAD, ids=lambda case: case["name"])
def test_a_bad_signature_does_not_verify(case):
    assert not verified(case)


def test_no_two_different_messages_share_an_envelope():
    assert len({case["envelope"] for case in GOOD}) == len(GOOD)


@pytest.mark.parametrize("size", [0, 1, 31, 32, 33, 63, 65, 128, 1_000_000])
def test_any_bytes_are_only_false(size):
    key = SigningKey(os.urandom(32)).verify_key.encode()
    assert not verify(key, b"message", os.urandom(size))
    assert not verify(os.urandom(size), b"message", os.urandom(64)) or size == 32
    assert not verify(b"", b"", b"")


@pytest.mark.parametrize("metadata", [{"a": 2**53}, {"a": float("nan")}, {"a": float("inf")}, {"a": "\ud800"}])
def test_metadata_without_a_canonical_form_has_no_envelope(metadata):
    with pytest.raises(ValueError):
        canonical_json(metadata)


@pytest.mark.parametrize("number", [-1, 2**64])
def test_a_client_random_is_an_unsigned_64_bit_integer(number):
    with pytest.raises(OverflowError):
        envelope(
            conversation_id=uuid4(),
            sender_id=uuid4(),
            device_id=uuid4(),
            client_random=number,
            type="text",
            content=b"",
            metadata={},
        )
