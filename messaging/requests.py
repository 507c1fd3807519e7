"""The typed requests of both transports, decoded by msgspec with every bound checked (docs/protocol.md §2 "Client →
server").

The socket and REST decode the same bytes into the same types, so that one rule cannot differ between them. Unknown
fields are ignored and never honoured. Each `check()` raises what msgspec's types cannot say.
"""

import binascii
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar, cast
from uuid import UUID

import msgspec

from whispr.kernel.errors import BadRequest, TooLarge
from whispr.kernel.limits import LIMITS

Seq = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
ClientRandom = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
Text128 = Annotated[str, msgspec.Meta(max_length=128)]
AckForms = Annotated[list["Ack"], msgspec.Meta(max_length=LIMITS.acks_per_request)]


UNNAMED = UUID(int=0)  # no conversation was named; a topic may know which one is meant


class Request(msgspec.Struct, frozen=True, rename="camel"):
    """The base of all requests."""


class SendMessage(Request, frozen=True, kw_only=True):
    """`send_message` and `POST messages`; on a conversation topic `conversationId` may be left out."""

    conversation_id: UUID = UNNAMED
    type: Literal["text", "media", "ephemeral", "edit", "reaction", "system"]
    content: str = ""  # beside the header in a binary push
    client_random: ClientRandom
    metadata: dict[str, Any] = {}
    reply_to: UUID | None = None
    target: UUID | None = None
    media_id: Annotated[str, msgspec.Meta(min_length=1, max_length=LIMITS.media_id_bytes)] | None = None
    ttl: Annotated[int, msgspec.Meta(ge=LIMITS.ttl_min_seconds, le=LIMITS.ttl_max_seconds)] | None = None
    ttl_start: Literal["send", "read"] = "send"
    signature: str | None = None
    members_version: Seq | None = None


class EditMessage(Request, frozen=True, kw_only=True):
    """`edit_message` and `PUT messages/{id}`: `baseId` is what it was made from, as `If-Match` says on REST."""

    message_id: UUID = UNNAMED
    content: str = ""  # beside the header in a binary push
    client_random: ClientRandom
    metadata: dict[str, Any] = {}
    signature: str | None = None
    base_id: UUID | None = None


class DeleteMessage(Request, frozen=True, kw_only=True):
    """`delete_message`."""

    message_id: UUID
    for_everyone: bool


class React(Request, frozen=True, kw_only=True):
    """`react`: signed with the metadata `{"emoji": …, "remove": true or false}` and empty content."""

    message_id: UUID
    emoji: str
    remove: bool = False
    client_random: ClientRandom
    signature: str | None = None


class Ack(Request, frozen=True, kw_only=True):
    """One cumulative acknowledgement: everything of the conversation up to and including `up_to`."""

    conversation_id: UUID
    up_to: Seq


class Acks(Request, frozen=True, kw_only=True):
    """`message_received`, `message_read` in their three forms; `POST acks` adds `status`."""

    conversation_id: UUID | None = None
    up_to: Seq | None = None
    acks: AckForms | None = None
    message_ids: Annotated[list[UUID], msgspec.Meta(max_length=LIMITS.acks_per_request)] | None = None
    status: Literal["received", "read"] = "received"


class History(Request, frozen=True, kw_only=True):
    """`history` and `GET conversations/{id}/messages`: `before` and `after` are seqs and exclude each other."""

    conversation_id: UUID = UNNAMED
    before: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)] | None = None
    after: Seq | None = None
    limit: int = LIMITS.page_default


class Typing(Request, frozen=True, kw_only=True):
    """`typing`."""

    conversation_id: UUID = UNNAMED
    active: bool


class RenewToken(Request, frozen=True, kw_only=True):
    """`renew_token`: a newer token of the same user and device; the socket goes on until that expires."""

    token: str


class Join(Request, frozen=True, kw_only=True):
    """The payload of a join of either topic."""

    cursors: dict[UUID, Seq] = {}
    epoch: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    binary: bool = False


class Sync(Request, frozen=True, kw_only=True):
    """`POST sync`."""

    cursors: dict[UUID, Seq] = {}
    limit: int = LIMITS.page_default
    epoch: Annotated[str, msgspec.Meta(max_length=64)] | None = None


class CreateConversation(Request, frozen=True, kw_only=True):
    """`POST conversations`."""

    type: Literal["direct", "group"]
    members: list[UUID]
    id: UUID | None = None
    settings: dict[str, Any] = {}


R = TypeVar("R", bound=Request)
_decoders: dict[type[Request], msgspec.json.Decoder[Any]] = {}


def decode_base64(text: str, name: str, max_bytes: int, *, allow_empty: bool = False) -> bytes:
    """The bytes of `text`, which must be padded base64 of the standard alphabet.

    Raises TooLarge over `max_bytes`, BadRequest for anything that is not base64, or for nothing at all.
    """
    if len(text) > max_bytes * 4 // 3 + 4:
        raise TooLarge(f"{name} is over its limit of {max_bytes} bytes.")
    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError):
        raise BadRequest(f"{name} must be standard base64.") from None
    if len(data) > max_bytes:
        raise TooLarge(f"{name} is over its limit of {max_bytes} bytes.")
    if not data and not allow_empty:
        raise BadRequest(f"{name} must not be empty.")
    return data


def encode_metadata(metadata: dict[str, Any], name: str = "metadata", max_bytes: int = LIMITS.metadata_bytes) -> bytes:
    """`metadata` as compact JSON, within the limits of docs/protocol.md "Limits".

    Raises TooLarge over `max_bytes`; BadRequest where it is too deep, holds a NUL (PostgreSQL's jsonb refuses it), a
    number other than 0 outside ±(1e-7 … 2^53 − 1): JavaScript clients would read it wrongly, or jsonb write it in
    hundreds of digits.
    """
    if not metadata:
        return b"{}"
    _check_json(metadata, name, LIMITS.metadata_depth)
    encoded = msgspec.json.encode(metadata)
    if len(encoded) > max_bytes:
        raise TooLarge(f"{name} is over its limit of {max_bytes} bytes.")
    return encoded


def _check_json(value: object, name: str, depth: int) -> None:
    if depth < 0:
        raise BadRequest(f"{name} is nested deeper than {LIMITS.metadata_depth}.")
    if isinstance(value, dict):
        for key, item in value.items():
            _check_json(key, name, depth)
            _check_json(item, name, depth - 1)
    elif isinstance(value, list):
        for item in value:
            _check_json(item, name, depth - 1)
    elif isinstance(value, str):
        if "\x00" in value:
            raise BadRequest(f"{name} must not hold NUL characters.")
    elif isinstance(value, int) and not isinstance(value, bool) and abs(value) > 2**53 - 1:
        raise BadRequest(f"{name} holds an integer beyond 2^53 − 1.")
    elif isinstance(value, float) and not (value == 0 or 1e-7 <= abs(value) <= 2**53 - 1):
        # jsonb keeps no exponent: it would write 1e-300 as 300 digits, and 4 KiB of those as 200 KiB.
        raise BadRequest(f"{name} holds a number outside ±(1e-7 … 2^53 − 1).")


def parse_datetime(text: str) -> datetime:
    """An RFC 3339 time with its offset. Raises BadRequest for anything else, a naive time among them."""
    try:
        moment = msgspec.convert(text, datetime)
    except msgspec.ValidationError:
        raise BadRequest("A time must be RFC 3339.") from None
    if moment.tzinfo is None:
        raise BadRequest("A time must carry its offset.")
    return moment


def decode_request(body: bytes | msgspec.Raw, kind: type[R]) -> R:
    """The request that `body` (JSON) spells. Raises BadRequest, naming the field, for anything else."""
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind)
    try:
        return cast(R, decoder.decode(body))
    except msgspec.ValidationError as error:
        raise BadRequest(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise BadRequest("The body is not JSON.") from None
    except RecursionError:
        raise BadRequest("The body is nested too deep.") from None
