"""The one error tree. Each class is one code of docs/protocol.md §6, with its HTTP status.

Services and stores raise these; the socket turns them into a `phx_reply` with status `error`, REST into problem+json.
Nothing else that a client can cause may reach the transports.
"""

from typing import Any, ClassVar


class WhisprError(Exception):
    """A refusal that a client is told of.

    `message` is a sentence for the client's developer; `retry_after` is in seconds; `details` must be JSON-encodable.
    """

    code: ClassVar[str] = "bad_request"
    status: ClassVar[int] = 400
    default_message: ClassVar[str] = "The request is not valid."
    default_retry_after: ClassVar[float | None] = None

    def __init__(
        self,
        message: str | None = None,
        *,
        retry_after: float | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        self.message = message or self.default_message
        self.retry_after = self.default_retry_after if retry_after is None else retry_after
        self.details = details
        super().__init__(self.message)

    def body(self) -> dict[str, Any]:
        """The body of the error: `{reason, message, retryAfter?, details?}` (docs/protocol.md §6)."""
        body: dict[str, Any] = {"reason": self.code, "message": self.message}
        if self.retry_after is not None:
            body["retryAfter"] = self.retry_after
        if self.details is not None:
            body["details"] = self.details
        return body


class BadRequest(WhisprError):
    """Not the documented shape, type or bound."""


class AckAboveHead(BadRequest):
    """An acknowledgement of what was never written: a broken or hostile client; a socket is closed with 4400."""

    default_message = "upTo is beyond the end of the conversation."


class Unauthenticated(WhisprError):
    """No token, or not a valid one."""

    code = "unauthenticated"
    status = 401
    default_message = "A valid token is needed."


class Forbidden(WhisprError):
    """Known to exist, but not the caller's to do."""

    code = "forbidden"
    status = 403
    default_message = "This is not yours to do."


class Quarantined(WhisprError):
    """The account is restricted; `details.until`, `details.rule`."""

    code = "quarantined"
    status = 403
    default_message = "This account is restricted for now."


class NotFound(WhisprError):
    """Absent, or not the caller's to know of: the same body for both, so the message is never customised."""

    code = "not_found"
    status = 404
    default_message = "There is no such thing here."

    def __init__(self) -> None:
        super().__init__()


class ClientRandomReused(WhisprError):
    """The key carried another message before."""

    code = "client_random_reused"
    status = 409
    default_message = "This clientRandom carried another message before; draw a new one."


class StaleMembership(WhisprError):
    """`membersVersion` is old; `details` has the change."""

    code = "stale_membership"
    status = 409
    default_message = "The members changed since this was encrypted."


class EditConflict(WhisprError):
    """The message is deleted, expired, or past its edit window."""

    code = "edit_conflict"
    status = 409
    default_message = "This message can no longer be changed."


class TooLarge(WhisprError):
    """Content, metadata or frame over its limit."""

    code = "too_large"
    status = 413
    default_message = "This is larger than the limit."


class InvalidSignature(WhisprError):
    """The device signature does not verify."""

    code = "invalid_signature"
    status = 422
    default_message = "The device signature does not verify."


class InvalidMedia(WhisprError):
    """The media service does not know the media, or it is not the sender's."""

    code = "invalid_media"
    status = 422
    default_message = "The media is not available to this sender."


class InvalidTarget(WhisprError):
    """A reply, edit or reaction target that is not a live message of the conversation."""

    code = "invalid_target"
    status = 422
    default_message = "The target is not a live message of this conversation."


class RateLimited(WhisprError):
    """Over a rate; `retryAfter` says when the next one fits."""

    code = "rate_limited"
    status = 429
    default_message = "Too many requests."
    default_retry_after = 1.0


class TemporaryUnavailable(WhisprError):
    """Something that the request needs is away (specification §5.1: retry after 30 seconds)."""

    code = "temporary_unavailable"
    status = 503
    default_message = "The service cannot do this right now."
    default_retry_after = 30.0


class DatabaseAway(TemporaryUnavailable):
    """The database is away, or takes no writes, and nothing of what was asked of it was done."""


class DatabaseReadOnly(DatabaseAway):
    """The database answers, and takes no writes: it is full, or a standby."""


class Timeout(WhisprError):
    """The database did not answer in time: the outcome is unknown (specification §5.1: retry after 5 seconds)."""

    code = "timeout"
    status = 503
    default_message = "No answer in time; send again with the same clientRandom."
    default_retry_after = 5.0


class DatabaseSlow(Timeout):
    """The database gave a statement up; nothing of what was asked of it was done."""


class OutcomeUnknown(Timeout):
    """The connection broke while the commit was on its way."""


class Overloaded(WhisprError):
    """A queue is full: load is shed before anything was done."""

    code = "overloaded"
    status = 503
    default_message = "The server is shedding load."
    default_retry_after = 1.0
