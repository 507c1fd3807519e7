"""Bodies in and out: bytes in, decoded by msgspec into the types that the socket uses too; values out, encoded by
msgspec."""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import IO, Any

import msgspec
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from whispr.kernel.errors import BadRequest, TooLarge
from whispr.kernel.limits import LIMITS

_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")  # as signed bytes: 1 and -1


class JsonBytesParser(BaseParser):
    """Hands a JSON body over as bytes, bounded in size and in depth, for `decode_request`."""

    media_type = "application/json"

    def parse(  # type: ignore[override]
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> bytes:
        """The body. Raises TooLarge over `LIMITS.frame_bytes`, BadRequest over `LIMITS.json_depth` or with a NUL."""
        body: bytes = stream.read(LIMITS.frame_bytes + 1)
        if len(body) > LIMITS.frame_bytes:
            raise TooLarge(f"A body may have {LIMITS.frame_bytes} bytes.")
        check_json(body)
        return body


def check_json(body: bytes) -> None:
    """Refuse what a decoder or PostgreSQL would choke on, before anything is decoded.

    Raises BadRequest where brackets outside of strings nest deeper than `LIMITS.json_depth`, or for an escaped U+0000,
    which PostgreSQL cannot store. Every step is a pass in C; none recurses. What is not JSON is refused later anyway.
    """
    if b"\\u0000" in body and b"\\u0000" in body.replace(b"\\\\", b""):
        raise BadRequest("The body holds U+0000.")
    if body.count(b"[") + body.count(b"{") <= LIMITS.json_depth:
        return
    bare = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    structure = b"".join(bare.split(b'"')[::2])
    steps = memoryview(structure.translate(_STEPS, _NOT_BRACKETS)).cast("b")
    if max(accumulate(steps), default=0) > LIMITS.json_depth:
        raise BadRequest("The body is nested too deep.")


class StructRenderer(BaseRenderer):
    """Encodes an answer's value as compact JSON: Structs in camelCase, bytes as base64, times as RFC 3339."""

    media_type = "application/json"
    format = "json"
    charset = None

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Mapping[str, Any] | None = None
    ) -> bytes:
        """The body of an answer; nothing for None."""
        return b"" if data is None else msgspec.json.encode(data)


class OneFormat(BaseContentNegotiation):
    """The API speaks JSON, whatever `Accept` says: a client that asks for more learns it from the Content-Type."""

    def select_parser(self, request: Request, parsers: Sequence[BaseParser]) -> BaseParser | None:  # type: ignore[override]
        """The parser of the body's type; None (a 415) where it says nothing or something else."""
        kind = (request.content_type or "").split(";", 1)[0].strip().lower()
        return next((parser for parser in parsers if parser.media_type == kind), None)

    def select_renderer(  # type: ignore[override]
        self, request: Request, renderers: Sequence[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        """The first renderer of the view."""
        return renderers[0], str(renderers[0].media_type)
