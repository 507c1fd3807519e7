"""The Content-Security-Policy of each answer: what a page may load and run (docs/operations.md "The admin")."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

HEADER = "Content-Security-Policy"


def _policy(**directives: str) -> str:
    return "; ".join(f"{name.replace('_', '-')} {sources}" for name, sources in directives.items())


# Nothing: JSON, health, errors, and whatever nobody thought of.
NOTHING = _policy(default_src="'none'", frame_ancestors="'none'")
# Pages that libraries draw: their scripts are files, their styles are in the markup as well, and images in data URLs.
_DRAWN = {
    "default_src": "'self'",
    "style_src": "'self' 'unsafe-inline'",
    "img_src": "'self' data:",
    "object_src": "'none'",
    "base_uri": "'none'",
    "form_action": "'self'",
    "frame_ancestors": "'none'",
}
# Alpine, which unfold is made with, evaluates its attributes; no inline script runs, so that a text of a client cannot
# be one.
ADMIN = _policy(**_DRAWN, script_src="'self' 'unsafe-eval'")
DOCS = _policy(**_DRAWN)
PAGES = (("/admin/", ADMIN), ("/api/v1/docs", DOCS))


class ContentSecurityPolicy:
    """Gives each answer the policy of its page, unless its view gave one (the web client, `whispr/web.py`)."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request."""
        response = self.get_response(request)
        if HEADER not in response:
            found = (policy for prefix, policy in PAGES if request.path.startswith(prefix))
            response[HEADER] = next(found, NOTHING)
        return response
