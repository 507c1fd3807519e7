"""The client's errors: one tree, a class a thing that a caller would do differently (docs/protocol.md §6)."""

from collections.abc import Mapping
from typing import Any


class WhisprClientError(Exception):
    """The base of all errors of this package."""


class Refused(WhisprClientError):
    """The server refused a request with a code. `details` says more for some codes."""

    def __init__(self, code: str, message: str = "", *, retry_after: float | None = None, details: Any = None) -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code
        self.message = message
        self.retry_after = retry_after  # seconds
        self.details: Mapping[str, Any] = details if isinstance(details, Mapping) else {}

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> "Refused":
        """From a socket's error response or a problem+json body."""
        code = str(body.get("code") or body.get("reason") or "internal_error")
        message = str(body.get("message") or body.get("detail") or "")
        after = body.get("retryAfter")
        seconds = float(after) if isinstance(after, int | float) else None
        return cls(code, message, retry_after=seconds, details=body.get("details"))

    @property
    def is_passing(self) -> bool:
        """Whether the same request may succeed later: try it again, with the same clientRandom."""
        return self.code in PASSING


# What a later try may mend; an answer that did not come in time is one of them, for its outcome is unknown.
PASSING = frozenset({"temporary_unavailable", "timeout", "overloaded", "rate_limited", "internal_error"})


class Unanswered(WhisprClientError):
    """No answer came: the connection ended, or it took too long. Whether the server did it is not known."""


class SignedOut(WhisprClientError):
    """The token is not taken, the device was revoked, or a newer socket of the device took this one's place."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code


class Closed(WhisprClientError):
    """The client was closed while this waited. What was in the outbox stays in its store."""
