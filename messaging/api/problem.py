"""Errors of REST as RFC 9457 `application/problem+json`, with the codes of docs/protocol.md §6."""

import logging
import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.http import Http404, HttpResponse
from django.http.request import UnreadablePostError
from rest_framework import exceptions as drf

from whispr.kernel.errors import BadRequest, Forbidden, NotFound, RateLimited, TooLarge, Unauthenticated, WhisprError

log = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"


class Problem(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The body of every refusal. `code` is what a client decides by, `detail` is a sentence for its developer.

    `retryAfter` is in seconds; `details` depends on the code.
    """

    type: str
    title: str
    status: int
    detail: str
    code: str
    retry_after: float | None = None
    details: dict[str, Any] | None = None


class MethodRefused(BadRequest):
    """The path is served, by other methods."""

    status = 405
    default_message = "This path does not take this method."


class MediaTypeRefused(BadRequest):
    """A body that does not say it is JSON."""

    status = 415
    default_message = "The body must be application/json."


class BodyTooSlow(BadRequest):
    """The request did not arrive in time."""

    status = 408
    default_message = "The body did not arrive in time."


class InternalError(WhisprError):
    """A fault of ours: the one code that is not in docs/protocol.md, because no input may cause it."""

    code = "internal_error"
    status = 500
    default_message = "The server failed; the fault is logged."


def problem_of(error: WhisprError) -> Problem:
    """The body that tells of `error`. Nothing in it depends on the path, so that all `not_found` are alike."""
    return Problem(
        type=f"urn:whispr:problem:{error.code}",
        title=HTTPStatus(error.status).phrase,
        status=error.status,
        detail=error.message,
        code=error.code,
        retry_after=error.retry_after,
        details=error.details,
    )


def headers_of(error: WhisprError) -> dict[str, str]:
    """The headers that go with `error`; `Retry-After` is in whole seconds, rounded up."""
    headers = {"Cache-Control": "no-store"}
    if error.retry_after is not None:
        headers["Retry-After"] = str(math.ceil(error.retry_after))
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return headers


def problem_response(error: WhisprError) -> HttpResponse:
    """The whole answer to a request that ended in `error`."""
    return HttpResponse(
        msgspec.json.encode(problem_of(error)),
        status=error.status,
        content_type=CONTENT_TYPE,
        headers=headers_of(error),
    )


def error_of(fault: Exception) -> WhisprError:
    """The coded error that `fault` is: ours as it is, Django's and DRF's translated, anything else an InternalError."""
    if isinstance(fault, WhisprError):
        return fault
    for kinds, error in _TRANSLATIONS:
        if isinstance(fault, kinds):
            return error()
    if isinstance(fault, drf.Throttled):
        return RateLimited(retry_after=getattr(fault, "wait", None))
    if isinstance(fault, drf.APIException) and fault.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
        return BadRequest()
    return InternalError()


_TRANSLATIONS: tuple[tuple[tuple[type[Exception], ...], type[WhisprError]], ...] = (
    ((Http404, drf.NotFound), NotFound),
    ((drf.NotAuthenticated, drf.AuthenticationFailed), Unauthenticated),
    ((PermissionDenied, drf.PermissionDenied), Forbidden),
    ((drf.MethodNotAllowed,), MethodRefused),
    ((drf.UnsupportedMediaType,), MediaTypeRefused),
    ((RequestDataTooBig,), TooLarge),
    ((SuspiciousOperation, UnreadablePostError), BadRequest),
)


def exception_handler(fault: Exception, context: Mapping[str, Any]) -> HttpResponse:
    """DRF's EXCEPTION_HANDLER: every exception of a view becomes a problem; a fault of ours is logged first."""
    error = error_of(fault)
    if isinstance(error, InternalError):
        view = type(context.get("view")).__name__
        log.error("%s failed: %s", view, type(fault).__name__, exc_info=fault)
    return problem_response(error)
