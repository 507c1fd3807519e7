"""The OpenAPI description, made of the very types that decode the requests and encode the answers."""

import re
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any, TypeVar

import msgspec
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema

from messaging.api.problem import CONTENT_TYPE, Problem
from whispr.kernel.limits import LIMITS

F = TypeVar("F", bound=Callable[..., Any])
Json = dict[str, Any]
_types: set[type] = {Problem}
_bodies_optional: set[str] = set()
_OCTETS = "application/octet-stream"
_TEMPLATE = "#/components/schemas/{name}"

# What any route may answer, and what those with a body may answer too.
_ALWAYS = (401, 403, 429, 503)
_BODY = (400, 413, 415)
_TITLES = {
    400: "`bad_request`: not the documented shape, type or bound.",
    401: "`unauthenticated`: no token, or not a valid one.",
    403: "`forbidden`, `quarantined`.",
    404: "`not_found`: absent, or not the caller's to know of.",
    409: "`client_random_reused`, `stale_membership`, `edit_conflict`.",
    413: "`too_large`.",
    415: "`bad_request`: the body is not application/json.",
    422: "`invalid_signature`, `invalid_media`, `invalid_target`.",
    429: "`rate_limited`, with `Retry-After`.",
    503: "`temporary_unavailable`, `timeout`, `overloaded`, with `Retry-After`.",
}


def operation(
    operation_id: str,
    summary: str,
    answers: Mapping[int, type | None],
    *,
    body: type | None = None,
    body_optional: bool = False,
    errors: Iterable[int] = (),
    query: Iterable[OpenApiParameter] = (),
    headers: Iterable[OpenApiParameter] = (),
    tag: str,
    public: bool = False,
) -> Callable[[F], F]:
    """Describe a view's method: its answers by status (None: without a body; bytes: as they are), its body, the errors
    beyond the usual ones.

    The method's docstring is the description.
    """
    query = list(query)
    if body_optional:
        _bodies_optional.add(operation_id)
    codes = {*errors, *_ALWAYS} - ({401} if public else set())
    if body is not None:
        codes |= set(_BODY)
    if query:
        codes |= {400}
    responses: dict[Any, OpenApiResponse] = {}
    for status, kind in answers.items():
        description = HTTPStatus(status).phrase
        if kind is bytes:
            responses[(status, _OCTETS)] = OpenApiResponse(OpenApiTypes.BINARY, description)
            continue
        responses[status] = OpenApiResponse(_ref(kind) if kind is not None else None, description)
    for status in sorted(codes):
        responses[(status, CONTENT_TYPE)] = OpenApiResponse(_ref(Problem), _TITLES[status])
    return extend_schema(
        operation_id=operation_id,
        summary=summary,
        tags=[tag],
        request=_body_of(body),
        responses=responses,
        parameters=[*query, *headers],
        auth=[] if public else None,
    )


def _body_of(kind: type | None) -> Any:
    if kind is None:
        return None
    return {_OCTETS: OpenApiTypes.BINARY} if kind is bytes else {"application/json": _ref(kind)}


def limit_parameter() -> OpenApiParameter:
    """The query's `limit`."""
    return OpenApiParameter(
        "limit",
        {"type": "integer", "default": LIMITS.page_default},
        description=f"Clamped to 1 … {LIMITS.page_max}.",
    )


def seq_parameter(name: str, minimum: int, description: str) -> OpenApiParameter:
    """A seq in the query."""
    return OpenApiParameter(
        name, {"type": "integer", "format": "int64", "minimum": minimum, "maximum": 2**63 - 1}, description=description
    )


def id_parameter(name: str, description: str) -> OpenApiParameter:
    """A UUID in the query."""
    return OpenApiParameter(name, {"type": "string", "format": "uuid"}, description=description)


def flag_parameter(name: str, description: str) -> OpenApiParameter:
    """A yes or no in the query."""
    return OpenApiParameter(name, {"type": "boolean", "default": False}, description=description)


def text_parameter(name: str, description: str, *, required: bool = False) -> OpenApiParameter:
    """A text in the query."""
    return OpenApiParameter(name, {"type": "string"}, description=description, required=required)


def if_match_parameter() -> OpenApiParameter:
    """The header `If-Match`."""
    description = "The message's ETag: `edit_conflict` where it was edited since."
    return OpenApiParameter("If-Match", {"type": "string"}, OpenApiParameter.HEADER, description=description)


def _ref(kind: type) -> Json:
    _types.add(kind)
    return {"$ref": _TEMPLATE.format(name=kind.__name__)}


def add_components(result: Json, generator: object, request: object, public: bool) -> Json:
    """POSTPROCESSING_HOOK of drf-spectacular: the schemas of all types that operations named, and
    of what these hold; and which bodies must be there."""
    kinds = sorted(_types, key=lambda kind: kind.__name__)
    _, components = msgspec.json.schema_components(kinds, ref_template=_TEMPLATE)
    schemas = result.setdefault("components", {}).setdefault("schemas", {})
    for name, schema in sorted(components.items()):
        schemas[name] = _described(schema)
    for path in result["paths"].values():
        for found in path.values():
            if "requestBody" in found:
                found["requestBody"]["required"] = found["operationId"] not in _bodies_optional
    return result


def _described(schema: Any) -> Any:
    """The schema with what a type cannot say: an entry's metadata is an object, `…At` is a time, a description is one
    paragraph."""
    if isinstance(schema, dict):
        found = {key: _described(value) for key, value in schema.items()}
        text = found.get("description")
        if isinstance(text, str):
            found["description"] = re.sub(r"\s+", " ", text)
        properties = found.get("properties")
        if isinstance(properties, dict):
            if properties.get("metadata") == {}:
                properties["metadata"] = {"type": "object", "description": "The sender's, or the server's event."}
            for name, value in properties.items():
                if name.endswith("At"):
                    for one in value.get("anyOf", [value]):
                        if one.get("type") == "string":
                            one["format"] = "date-time"
        return found
    if isinstance(schema, list):
        return [_described(value) for value in schema]
    return schema


class BearerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """`Authorization: Bearer` in the description's security schemes."""

    target_class = "messaging.api.authentication.BearerAuthentication"
    name = "bearer"

    def get_security_definition(self, auto_schema: object) -> Json:
        """The scheme as OpenAPI names it."""
        return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
