"""What a request says of a user's choices about pushes (docs/protocol.md "Pushes")."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from delivery.store.push_preferences import Choice
from messaging.devices import UpdateNotifications
from whispr.kernel.errors import BadRequest

MUTE_MAX = timedelta(days=366)


def choices_of(request: UpdateNotifications) -> dict[UUID | None, Choice]:
    """What is to be set: for all conversations under None, where the request says something of all.

    A mute that is over is none. Raises BadRequest for one without an offset from UTC or more than a year ahead.
    """
    chosen: dict[UUID | None, Choice] = {
        key: Choice(one.enabled, _mute(one.muted_until)) for key, one in request.conversations.items()
    }
    if request.enabled is not None or request.muted_until is not None:
        chosen[None] = Choice(request.enabled is not False, _mute(request.muted_until))
    return chosen


def _mute(until: datetime | None) -> datetime | None:
    """The end of a mute that is not over yet."""
    if until is None:
        return None
    if until.tzinfo is None:
        raise BadRequest("mutedUntil needs its offset from UTC.")
    now = datetime.now(UTC)
    if until > now + MUTE_MAX:
        raise BadRequest("mutedUntil is too far ahead: enabled false has no end.")
    return until if until > now else None
