"""The web client at `/`: the built page of sdk/apps/web. Its build is in the repository, so no Node is needed."""

from functools import lru_cache
from pathlib import Path

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

PAGE = Path("sdk") / "apps" / "web" / "dist" / "index.html"

# The page brings all its scripts and styles as files and talks to nobody else. `ws:` stands beside 'self' because not
# every browser counts a WebSocket of the same origin as 'self'.
POLICY = "; ".join(
    (
        "default-src 'self'",
        "connect-src 'self' ws: wss:",
        # Decrypted attachments are shown from the page's own memory.
        "img-src 'self' blob:",
        "style-src 'self'",
        "script-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        # The demonstration shows the page to itself: two people in two frames.
        "frame-ancestors 'self'",
    )
)


@lru_cache(maxsize=1)
def _read(path: Path, changed_ns: int) -> bytes:
    return path.read_bytes()


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    """The page itself. It is asked for anew each time; its assets, under /static/web/, carry a hash of their content.

    Answers 503 where the repository holds no build (`npm run build` in sdk/ makes it).
    """
    path = settings.BASE_DIR / PAGE
    try:
        body = _read(path, path.stat().st_mtime_ns)
    except OSError:
        return HttpResponse("The web client is not built: run `npm ci && npm run build` in sdk/.\n", "text/plain", 503)
    response = HttpResponse(body, "text/html; charset=utf-8")
    response["Content-Security-Policy"] = POLICY
    response["Cache-Control"] = "no-cache"
    response["Referrer-Policy"] = "no-referrer"
    response["X-Frame-Options"] = "SAMEORIGIN"
    return response
