"""The API's own description: the OpenAPI document, and a page to read and try it that needs no other server."""

from functools import cache

import msgspec
from django.http import HttpResponse
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularSwaggerSplitView
from rest_framework.permissions import AllowAny
from rest_framework.renderers import TemplateHTMLRenderer
from rest_framework.request import Request

from messaging.api.base import ApiView


@cache
def schema_bytes() -> bytes:
    """The OpenAPI 3.1 document as JSON: made once a process, for it costs a good part of a second."""
    generator = SchemaGenerator()  # type: ignore[no-untyped-call]
    schema = generator.get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    return msgspec.json.format(msgspec.json.encode(schema), indent=1)


@extend_schema(exclude=True)
class Schema(ApiView):
    """`schema`."""

    authentication_classes = []
    permission_classes = [AllowAny]

    def get(self, request: Request) -> HttpResponse:
        """The document, for anybody."""
        return HttpResponse(schema_bytes(), content_type="application/json")


@extend_schema(exclude=True)
class Docs(SpectacularSwaggerSplitView):
    """`docs`: Swagger UI from our own static files; the script that begins it has an address, so none is inline."""

    authentication_classes = []
    permission_classes = [AllowAny]
    renderer_classes = [TemplateHTMLRenderer]
    url_name = "schema"
