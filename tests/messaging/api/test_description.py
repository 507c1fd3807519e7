"""The OpenAPI description: valid, without a warning, and of every route that is served."""

import io
import re

import msgspec
from django.core.management import call_command
from django.urls import URLPattern, URLResolver, get_resolver

from messaging.api.base import ApiView
from tests.messaging.api.client import Client

# docs/protocol.md §7.
ROUTES = {
    "messages": "post",
    "messages/{message_id}": "get put delete",
    "messages/{message_id}/reactions": "get post delete",
    "messages/{message_id}/read": "post",
    "messages/{message_id}/delivery": "get",
    "conversations": "get post",
    "conversations/{conversation_id}": "get patch delete",
    "conversations/{conversation_id}/messages": "get",
    "conversations/{conversation_id}/members": "get post",
    "conversations/{conversation_id}/members/{user_id}": "patch delete",
    "conversations/{conversation_id}/receipts": "get",
    "conversations/{conversation_id}/devices": "get",
    "sync": "post",
    "acks": "post",
    "devices": "get post",
    "devices/{device_id}": "patch delete",
    "settings": "get patch",
    "media": "post",
    "media/{media_id}": "get",
    "blocks": "get",
    "blocks/{user_id}": "put delete",
    "dev/tokens": "post",
    "dev/people": "get",
    "socket-tickets": "post",
    "messages/scheduled": "get post",
    "messages/scheduled/{scheduled_id}": "get put delete",
    "messages/drafts": "get post",
    "messages/drafts/{conversation_id}": "get put delete",
    "messages/{message_id}/trace": "get",
}


def views_of(patterns: list, prefix: str = "") -> set[str]:
    found: set[str] = set()
    for pattern in patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            found |= views_of(pattern.url_patterns, path)
        elif isinstance(pattern, URLPattern) and issubclass(getattr(pattern.callback, "cls", object), ApiView):
            found.add("/" + re.sub(r"<\w+:(\w+)>", r"{\1}", path))
    return found


async def test_the_schema_describes_what_is_served():
    answer = await Client(token=None).get("/schema")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    schema = answer.json
    assert schema["openapi"] == "3.1.0"
    described = {path: set(methods) for path, methods in schema["paths"].items()}
    assert described == {f"/api/v1/{path}": set(methods.split()) for path, methods in ROUTES.items()}
    assert views_of(get_resolver().url_patterns) == described.keys() | {"/api/v1/schema"}


async def test_every_reference_leads_to_a_type():
    schema = (await Client(token=None).get("/schema")).json
    text = msgspec.json.encode(schema).decode()
    named = set(re.findall(r'"#/components/schemas/(\w+)"', text))
    assert named == set(schema["components"]["schemas"])
    send = schema["paths"]["/api/v1/messages"]["post"]
    assert send["requestBody"] == {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/SendMessage"}}},
    }
    assert set(send["responses"]) == {
        "200", "201", "202", "400", "401", "403", "404", "409", "413", "415", "422", "429", "503",
    }  # fmt: skip


def test_the_schema_is_valid():
    call_command("spectacular", "--validate", "--fail-on-warn", stdout=io.StringIO())


async def test_the_page_needs_no_other_server():
    page = await Client(token=None).get("/docs")
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert b"/static/drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js" in page.body
    assert b"//cdn." not in page.body
