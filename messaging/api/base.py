"""The base of all views of the API: who asks, what is asked, and the one call of a service that answers.

DRF is synchronous. `call()` runs a service on the server's own event loop (asgiref carries the coroutine there from the
view's thread), so that a send by REST joins the same group commit as the sends of the sockets.
"""

import re
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, ParamSpec, TypeVar, cast
from uuid import UUID

from asgiref.sync import async_to_sync
from rest_framework.request import Request as HttpRequest
from rest_framework.response import Response
from rest_framework.views import APIView

from messaging.api.authentication import AuthenticatedUser
from messaging.events import Actor
from messaging.requests import R, decode_request
from whispr.kernel import telemetry
from whispr.kernel.auth import Claims
from whispr.kernel.errors import BadRequest
from whispr.kernel.limits import LIMITS

P = ParamSpec("P")
T = TypeVar("T")
# No integer of the API is longer than 19 digits; what is longer, but a number, is clamped or refused as one.
_INTEGER = re.compile(r"-?[0-9]{1,64}", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
SEQ_MAX = 2**63 - 1


class IdConverter:
    """A UUID in a path. Anything else is no route, and so `not_found`."""

    regex = _UUID.pattern.replace("a-f", "a-fA-F")

    def to_python(self, value: str) -> UUID:
        """The UUID of the path's text."""
        return UUID(value)

    def to_url(self, value: UUID | str) -> str:
        """The path's text of a UUID."""
        return str(value)


class ApiView(APIView):
    """A view that knows its actor, decodes with the types of the socket and answers with Structs."""

    metadata_class = None

    def options(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        """Which methods the path takes, in `Allow`."""
        return Response(status=HTTPStatus.NO_CONTENT)

    def finalize_response(self, request: HttpRequest, response: Any, *args: Any, **kwargs: Any) -> Response:
        """Mark the answer as private to the caller, and count it."""
        final = super().finalize_response(request, response, *args, **kwargs)
        final["Cache-Control"] = "no-store"
        method = request.method if request.method in ("GET", "POST", "PUT", "PATCH", "DELETE") else "other"
        telemetry.rest_requests.labels(method, type(self).__name__, str(final.status_code)).inc()
        return final


def actor_of(request: HttpRequest) -> Actor:
    """Who asks: proven by the bearer token."""
    return cast(AuthenticatedUser, request.user).actor


def claims_of(request: HttpRequest) -> Claims:
    """What the bearer token of the request proved."""
    return cast(AuthenticatedUser, request.user).claims


def body_of(request: HttpRequest, kind: type[R], *, optional: bool = False) -> R:
    """The request's body as `kind`; without a body its defaults, where `optional`. Raises BadRequest, TooLarge."""
    data: Any = request.data  # bytes by JsonBytesParser; DRF gives an empty dict where there is no body
    if not data:
        if not optional:
            raise BadRequest("A JSON body is needed.")
        data = b"{}"
    return decode_request(data, kind)


def limit_of(request: HttpRequest) -> int:
    """The query's `limit`, clamped to 1 … LIMITS.page_max. Raises BadRequest for what is no integer."""
    value = _integer(request, "limit")
    return LIMITS.page_default if value is None else min(max(value, 1), LIMITS.page_max)


def seq_of(request: HttpRequest, name: str, minimum: int) -> int | None:
    """A seq of the query. Raises BadRequest for what is no integer within `minimum` … 2^63 − 1."""
    value = _integer(request, name)
    if value is not None and not minimum <= value <= SEQ_MAX:
        raise BadRequest(f"{name} must be {minimum} to {SEQ_MAX}.")
    return value


def id_of(request: HttpRequest, name: str) -> UUID | None:
    """A UUID of the query. Raises BadRequest for anything else."""
    text = request.query_params.get(name)
    if text is None:
        return None
    if _UUID.fullmatch(text) is None:
        raise BadRequest(f"{name} must be a UUID.")
    return UUID(text)


def flag_of(request: HttpRequest, name: str) -> bool:
    """A `true` or `false` of the query; false where it is absent. Raises BadRequest for anything else."""
    text = request.query_params.get(name)
    if text not in (None, "true", "false"):
        raise BadRequest(f"{name} must be true or false.")
    return text == "true"


def _integer(request: HttpRequest, name: str) -> int | None:
    text = request.query_params.get(name)
    if text is None:
        return None
    if _INTEGER.fullmatch(text) is None:
        raise BadRequest(f"{name} must be an integer.")
    return int(text)


def call(service: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
    """The service's result, awaited on the server's event loop. Services have deadlines of their own."""
    return async_to_sync(service)(*args, **kwargs)


def answer(value: object, status: HTTPStatus = HTTPStatus.OK, **headers: str) -> Response:
    """An answer whose body is `value`, encoded by StructRenderer."""
    return Response(value, status=status, headers=headers)
