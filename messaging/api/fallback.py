"""What no view of the API answers: unknown paths, and the errors that Django itself refuses a request with."""

import logging
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.defaults import bad_request, page_not_found, permission_denied, server_error

from messaging.api.problem import InternalError, problem_response
from whispr.kernel.errors import BadRequest, Forbidden, NotFound

log = logging.getLogger(__name__)
PREFIX = "/api/"


@csrf_exempt
def unknown_path(request: HttpRequest, *args: object) -> HttpResponse:
    """`not_found` for every path of the API that is no route, by any method."""
    return problem_response(NotFound())


def handler400(request: HttpRequest, exception: Exception) -> HttpResponse:
    """A request that Django refuses (a bad Host, a broken body): a problem for the API, a page elsewhere."""
    if request.path.startswith(PREFIX):
        return problem_response(BadRequest())
    return bad_request(request, exception)


def handler403(request: HttpRequest, exception: Exception) -> HttpResponse:
    """As `handler400`, for what is not allowed."""
    if request.path.startswith(PREFIX):
        return problem_response(Forbidden())
    return permission_denied(request, exception)


def handler404(request: HttpRequest, exception: Exception) -> HttpResponse:
    """As `handler400`, for what is not there."""
    if request.path.startswith(PREFIX):
        return problem_response(NotFound())
    return page_not_found(request, exception)


def handler500(request: HttpRequest, *args: Any) -> HttpResponse:
    """As `handler400`, for a fault of ours; Django has logged it."""
    if request.path.startswith(PREFIX):
        return problem_response(InternalError())
    return server_error(request)
