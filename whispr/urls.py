"""The routes: the API, the admin, the health pages, and the web client at `/`."""

from django.contrib import admin
from django.urls import include, path, re_path

from messaging.api import fallback
from messaging.api.description import Docs, Schema
from whispr.health import livez, readyz
from whispr.web import page

urlpatterns = [
    path("api/v1/", include("messaging.api.urls")),
    path("api/v1/", include("delivery.api.urls")),
    path("api/v1/schema", Schema.as_view(), name="schema"),
    path("api/v1/docs", Docs.as_view()),
    re_path(r"^api(/.*)?$", fallback.unknown_path),
    path("admin/", admin.site.urls),
    path("livez", livez),
    path("readyz", readyz),
    path("", page),
]

handler400 = fallback.handler400
handler403 = fallback.handler403
handler404 = fallback.handler404
handler500 = fallback.handler500
