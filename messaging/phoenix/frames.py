"""What a client sends: the frames of Phoenix Channels, versions 1 and 2, text and binary (docs/protocol.md §2).

Version 2 text is the array `[join_ref, ref, topic, event, payload]`, version 1 the object with the same names; binary
frames exist in version 2 only. A payload is checked to be JSON and an object, and handed on undecoded: whoever knows
the event decodes it once, into its own type.
"""

import re
from collections.abc import Callable
from enum import IntEnum
from itertools import accumulate
from typing import Annotated, Final, TypeAlias, TypeVar

import msgspec

from whispr.kernel.errors import BadRequest

REF_BYTES: Final = 64  # phoenix.js counts from 1, others send UUIDs (36); the reply repeats it, so it is bounded
EVENT_BYTES: Final = 64  # the longest name in use is 22 bytes
TOPIC_BYTES: Final = 200  # "conversation:" and a UUID are 49; below 255, which a binary frame can carry
JSON_DEPTH: Final = 64  # far above what any payload needs, far below where a decoder runs out of stack
ENVELOPE_HEADER_BYTES: Final = 16 * 1024  # a send without its content: metadata is at most 4 KiB

Ref: TypeAlias = str | int | None
"""A reference as the client wrote it. Phoenix repeats whatever it was given; clients send texts, a few send numbers."""

_T = TypeVar("_T")
_INT64_MAX: Final = 2**63 - 1
_BoundedRef: TypeAlias = (
    Annotated[str, msgspec.Meta(max_length=REF_BYTES)]
    | Annotated[int, msgspec.Meta(ge=-_INT64_MAX, le=_INT64_MAX)]
    | None
)
_BoundedEvent: TypeAlias = Annotated[str, msgspec.Meta(max_length=EVENT_BYTES)]


class Version(IntEnum):
    """The serializer of a socket."""

    V1 = 1
    V2 = 2


class TextFrame(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One text frame of a client. `payload` is a JSON object, undecoded; it keeps the received text alive."""

    join_ref: _BoundedRef
    ref: _BoundedRef
    topic: str
    event: _BoundedEvent
    payload: msgspec.Raw


class BinaryFrame(msgspec.Struct, frozen=True, gc=False):
    """One binary push of a client (version 2). `payload` is whatever followed the header, see `split_envelope`."""

    join_ref: Ref
    ref: Ref
    topic: str
    event: str
    payload: bytes


Frame: TypeAlias = TextFrame | BinaryFrame


class BadFrame(BadRequest):
    """Not a frame of the protocol. `join_ref`, `ref` and `topic` are what could be read of it, to answer to."""

    def __init__(self, message: str, join_ref: Ref = None, ref: Ref = None, topic: str | None = None) -> None:
        super().__init__(message)
        self.join_ref = join_ref
        self.ref = ref
        self.topic = topic


class FrameTooLarge(BadFrame):
    """A frame over the size limit; nothing of it was read."""

    code = "too_large"
    status = 413


class _V1Object(msgspec.Struct, gc=False):
    topic: str
    event: _BoundedEvent
    payload: msgspec.Raw
    ref: _BoundedRef
    join_ref: _BoundedRef = None


_NULL: Final = msgspec.Raw(b"null")


class _V1Address(msgspec.Struct, gc=False):
    topic: msgspec.Raw = _NULL
    ref: msgspec.Raw = _NULL
    join_ref: msgspec.Raw = _NULL


_decode_v2: Final = msgspec.json.Decoder(TextFrame).decode
_decode_v1: Final = msgspec.json.Decoder(_V1Object).decode
_decode_v1_address: Final = msgspec.json.Decoder(_V1Address).decode
_decode_ref: Final = msgspec.json.Decoder(_BoundedRef).decode
_decode_topic: Final = msgspec.json.Decoder(Annotated[str, msgspec.Meta(max_length=TOPIC_BYTES)]).decode

_REF_PATTERN: Final = r'(null|-?[0-9]{1,18}|"[^"\\\x00-\x1f]{0,64}")'
# The address of a v2 frame stands in front, so it can be read even where the rest is broken.
_V2_ADDRESS: Final = re.compile(
    rf"[ \t\r\n]*\[[ \t\r\n]*{_REF_PATTERN}[ \t\r\n]*,[ \t\r\n]*{_REF_PATTERN}[ \t\r\n]*"
    r'(?:,[ \t\r\n]*"([^"\\\x00-\x1f]{1,200})")?'
)
_VSN: Final = re.compile(r"([12])\.0\.(?:0|[1-9][0-9]{0,8})")
_BRACKET_STEPS: Final = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")  # +1 and -1, as signed bytes
_NOT_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))


def parse_vsn(vsn: str | None) -> Version | None:
    """The version that the query parameter `vsn` asks for, `None` where it is not served (refuse the upgrade with 403).

    As Phoenix: absent means 1.0.0; any patch of 1.0 and 2.0 is served.
    """
    match = _VSN.fullmatch("1.0.0" if vsn is None else vsn)
    return Version(int(match[1])) if match else None


# --- in: text ---------------------------------------------------------------------------------------------------------


def decode_text(data: str | bytes, version: Version, depth: int = JSON_DEPTH) -> TextFrame:
    """The frame in a text message. `depth` bounds how far objects and arrays nest, the frame's own bracket included.

    Raises BadFrame, and nothing else, for what is not JSON, not UTF-8, not of the version's shape, over a bound of this
    module, nested too deeply, or holding U+0000 (PostgreSQL cannot store it) or half a surrogate pair. Topics are not
    bounded here: one that is too long is one that does not match. Elements past the fifth are ignored, as by Phoenix.
    """
    try:
        text = data if isinstance(data, str) else str(data, "utf-8")
    except UnicodeDecodeError:
        raise BadFrame("The frame is not UTF-8.") from None
    try:
        # Splitting stops early and runs at the speed of memchr; counting brackets would cost 1 ns a character.
        if len(text.split("[", depth + 1)) + len(text.split("{", depth + 1)) - 2 > depth and _is_deeper(text, depth):
            raise BadFrame(f"The frame is nested deeper than {depth}.", *_address(text, version))
        if version is Version.V2:
            frame = _decode_v2(text)
        else:
            v1 = _decode_v1(text)
            frame = TextFrame(v1.join_ref, v1.ref, v1.topic, v1.event, v1.payload)
    except UnicodeEncodeError:
        raise BadFrame("The frame holds half a surrogate pair.") from None
    except msgspec.ValidationError:
        raise BadFrame("The frame is not of the protocol's shape.", *_address(text, version)) from None
    except (msgspec.DecodeError, RecursionError):
        raise BadFrame("The frame is not valid JSON.", *_address(text, version)) from None
    if memoryview(frame.payload)[0] != 0x7B:  # "{"
        raise BadFrame("The payload is not an object.", frame.join_ref, frame.ref, frame.topic)
    if "\\" in text or not text.isascii():
        _check_unusual(text, frame)
    return frame


def _check_unusual(text: str, frame: TextFrame) -> None:
    """The checks that only text with an escape or beyond ASCII can fail."""
    for ref in (frame.join_ref, frame.ref):
        if isinstance(ref, str) and len(ref.encode()) > REF_BYTES:
            raise BadFrame("A reference is too long.")
    if len(frame.event.encode()) > EVENT_BYTES:
        raise BadFrame("The event is too long.", frame.join_ref, frame.ref, frame.topic)
    if _has_nul(text):
        raise BadFrame("The frame holds U+0000.", frame.join_ref, frame.ref, frame.topic)


def _has_nul(text: str) -> bool:
    """Whether valid JSON holds an escaped U+0000; escaped backslashes are taken out first, two by two from the left."""
    return "\\u0000" in text and "\\u0000" in text.replace("\\\\", "")


def _is_deeper(text: str, depth: int) -> bool:
    """Whether brackets outside of strings nest deeper than `depth`; every step runs in C, none recurses.

    Text that is not JSON may get either answer: it is refused in any case.
    """
    bare = text.replace("\\\\", "").replace('\\"', "")
    structure = "".join(bare.split('"')[::2]).encode(errors="replace")
    steps = memoryview(structure.translate(_BRACKET_STEPS, _NOT_BRACKETS)).cast("b")
    return max(accumulate(steps), default=0) > depth


def too_large(data: str | bytes, version: Version, limit: int) -> FrameTooLarge:
    """The refusal of a message of more than `limit` bytes, of which no more is read than where to answer."""
    start = data[:1024]  # holds the longest address
    if isinstance(start, bytes):
        start = start.decode(errors="replace")
    address = _address(start, version) if version is Version.V2 else (None, None, None)
    return FrameTooLarge(f"A frame may have {limit} bytes.", *address)


def _address(text: str, version: Version) -> tuple[Ref, Ref, str | None]:
    """`(join_ref, ref, topic)` of a frame that is broken elsewhere, as far as they can be read."""
    try:
        if version is Version.V1:
            found = _decode_v1_address(text)
            return (
                _lenient(found.join_ref, _decode_ref),
                _lenient(found.ref, _decode_ref),
                _lenient(found.topic, _decode_topic),
            )
        match = _V2_ADDRESS.match(text)
        if match is None:
            return None, None, None
        match[0].encode()
        return _lenient(match[1], _decode_ref), _lenient(match[2], _decode_ref), match[3]
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return None, None, None


def _lenient(raw: msgspec.Raw | str, decode: Callable[[msgspec.Raw | str], _T]) -> _T | None:
    try:
        return decode(raw)
    except msgspec.DecodeError:
        return None


# --- in: binary -------------------------------------------------------------------------------------------------------

PUSH: Final = 0  # the first byte of a binary frame
_PUSH_HEADER: Final = 5  # kind, then the sizes of join_ref, ref, topic, event


def decode_binary(data: bytes) -> BinaryFrame:
    """The push in a binary message of version 2: a kind byte 0, four size bytes, join_ref, ref, topic, event, payload.

    An empty join_ref or ref is an absent one. Raises BadFrame for another kind, a header past the end, a text that is
    not UTF-8 or holds U+0000, and whatever is over a bound of this module.
    """
    if len(data) < _PUSH_HEADER or data[0] != PUSH:
        raise BadFrame("The frame is not a binary push.")
    ref_start = _PUSH_HEADER + data[1]
    topic_start = ref_start + data[2]
    event_start = topic_start + data[3]
    payload_start = event_start + data[4]
    if payload_start > len(data):
        raise BadFrame("The frame ends within its header.")
    if data[1] > REF_BYTES or data[2] > REF_BYTES:
        raise BadFrame("A reference is too long.")
    try:
        header = str(data[_PUSH_HEADER:payload_start], "utf-8")
        if header.isascii():  # then an index of bytes is one of characters
            start = _PUSH_HEADER
            join_ref, ref = header[: ref_start - start], header[ref_start - start : topic_start - start]
            topic, event = header[topic_start - start : event_start - start], header[event_start - start :]
        else:
            join_ref, ref = str(data[_PUSH_HEADER:ref_start], "utf-8"), str(data[ref_start:topic_start], "utf-8")
            topic, event = str(data[topic_start:event_start], "utf-8"), str(data[event_start:payload_start], "utf-8")
    except UnicodeDecodeError:
        raise BadFrame("The frame's header is not UTF-8.") from None
    if "\0" in header:
        raise BadFrame("The frame holds U+0000.")
    if data[4] > EVENT_BYTES:
        raise BadFrame("The event is too long.", join_ref or None, ref or None, topic)
    return BinaryFrame(join_ref or None, ref or None, topic, event, bytes(data[payload_start:]))


def split_envelope(payload: bytes, depth: int = JSON_DEPTH) -> tuple[bytes, bytes]:
    """The JSON header and the ciphertext of a binary push (docs/protocol.md §4).

    The header is checked as a text payload is (`decode_text`), its values are not. Raises BadFrame.
    """
    size = int.from_bytes(payload[:4], "big")
    if len(payload) < 4 or size > len(payload) - 4:
        raise BadFrame("The envelope ends within its header.")
    if size > ENVELOPE_HEADER_BYTES:
        raise BadFrame("The envelope's header is too long.")
    header = payload[4 : 4 + size]
    # As a frame of its own the header meets every check of a text payload; binary frames are few.
    frame = decode_text(b'[null,null,"","",' + header + b"]", Version.V2, depth + 1)
    if bytes(frame.payload) != header.strip(b" \t\r\n"):
        raise BadFrame("The envelope's header is not one object.")
    return header, payload[4 + size :]


def join_envelope(header: bytes, content: bytes) -> bytes:
    """The binary payload with this JSON header and this ciphertext, the counterpart of `split_envelope`."""
    return len(header).to_bytes(4, "big") + header + content
