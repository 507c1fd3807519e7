"""What the server sends: the frames of Phoenix Channels, versions 1 and 2, text and binary (docs/protocol.md §2).

JSON out is compact and unescaped. A push is made of a head, its receiver's own, and a tail that all receivers share:
one message to a thousand sockets is encoded once and costs each of them one concatenation.
"""

from json.encoder import encode_basestring
from typing import Final

from messaging.phoenix.frames import PUSH, Ref, Version

REPLY: Final = 1  # the first byte of a binary frame, beside PUSH
BROADCAST: Final = 2


# --- out: text --------------------------------------------------------------------------------------------------------


def _quote(ref: Ref) -> str:
    if ref is None:
        return "null"
    return encode_basestring(ref) if isinstance(ref, str) else str(ref)


def encode_message(version: Version, join_ref: Ref, ref: Ref, topic: str, event: str, payload_json: bytes) -> str:
    """The text frame of a server message; `payload_json` is its payload as compact JSON. Version 1 has no join_ref."""
    payload = payload_json.decode()
    if version is Version.V2:
        return f"[{_quote(join_ref)},{_quote(ref)},{encode_basestring(topic)},{encode_basestring(event)},{payload}]"
    name = encode_basestring(event)
    return f'{{"topic":{encode_basestring(topic)},"ref":{_quote(ref)},"event":{name},"payload":{payload}}}'


def encode_reply(version: Version, join_ref: Ref, ref: Ref, topic: str, status: str, response_json: bytes) -> str:
    """The `phx_reply` to `ref`: `status` is `ok` or `error`, `response_json` an object as compact JSON."""
    payload = f'{{"status":"{status}","response":{response_json.decode()}}}'
    if version is Version.V2:
        return f'[{_quote(join_ref)},{_quote(ref)},{encode_basestring(topic)},"phx_reply",{payload}]'
    return f'{{"topic":{encode_basestring(topic)},"ref":{_quote(ref)},"event":"phx_reply","payload":{payload}}}'


def encode_push(version: Version, join_ref: Ref, topic: str, event: str, payload_json: bytes) -> str:
    """The text frame of a push to one join of a topic: `push_head` and `push_tail` in one."""
    return push_head(version, join_ref, topic) + push_tail(version, event, payload_json)


def push_head(version: Version, join_ref: Ref, topic: str) -> str:
    """What a push to this join begins with; the frame is `push_head(…) + push_tail(…)`. Kept while the join lives."""
    if version is Version.V2:
        return f"[{_quote(join_ref)},null,{encode_basestring(topic)},"
    return f'{{"topic":{encode_basestring(topic)},"ref":null,'


def push_tail(version: Version, event: str, payload_json: bytes) -> str:
    """What a push ends with, the same for every subscriber of this version: encoded once, each one's head before it."""
    if version is Version.V2:
        return f"{encode_basestring(event)},{payload_json.decode()}]"
    return f'"event":{encode_basestring(event)},"payload":{payload_json.decode()}}}'


# --- out: binary ------------------------------------------------------------------------------------------------------


def binary_push_head(join_ref: Ref, topic: str, event: str) -> bytes:
    """What a binary push begins with, before its payload. Raises ValueError where a text is over 255 bytes."""
    return _binary_head(PUSH, _text(join_ref), topic, event)


def encode_binary_push(join_ref: Ref, topic: str, event: str, payload: bytes) -> bytes:
    """A binary push to one join (kind 0; the server's has no ref). Raises ValueError where a text is over 255 bytes."""
    return _binary_head(PUSH, _text(join_ref), topic, event) + payload


def encode_binary_reply(join_ref: Ref, ref: Ref, topic: str, status: str, payload: bytes) -> bytes:
    """A reply whose response is bytes (kind 1). Raises ValueError where a text is over 255 bytes."""
    return _binary_head(REPLY, _text(join_ref), _text(ref), topic, status) + payload


def encode_binary_broadcast(topic: str, event: str, payload: bytes) -> bytes:
    """A binary message for whoever joined the topic (kind 2). Raises ValueError where a text is over 255 bytes."""
    return _binary_head(BROADCAST, topic, event) + payload


def _text(ref: Ref) -> str:
    return "" if ref is None else str(ref)


def _binary_head(kind: int, *texts: str) -> bytes:
    parts = [text.encode() for text in texts]
    return bytes((kind, *map(len, parts))) + b"".join(parts)  # bytes() refuses a size over 255
