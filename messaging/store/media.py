"""Media: the rows of the built-in media store, and the outbox of links to messages (specification §9.2).

A link is written by its message's own transaction (messaging/store/log.py), and marked as removed by the transaction
that takes the message's content away (`media_links_remove`). `media_links_claim` hands out what is to be told to the
media service, so that neither is lost whatever dies in between.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from delivery.store.dead_letters import dead_letter_write
from messaging.events import MediaMetadata
from whispr.kernel.errors import RateLimited
from whispr.kernel.limits import LIMITS

MEDIA_LINK = "media_link"  # the kind of its dead letters; their key is the link's id
# A medium that a send was just told to be there is not removed for so long: a send ends within LIMITS.request_seconds.
MEDIA_LEASE_SECONDS = LIMITS.request_seconds + 6
# Who claimed links has so long to tell them before somebody else tries: longer than integrations.media.LINK_SECONDS.
CLAIM_SECONDS = 20
# Retries of a link that the service refused: after 1, 2, 4, 8 seconds; then it is a dead letter.
BACKOFF_MAX_SECONDS = 60
# While the service is away, so that all is told within 30 s of its return.
AWAY_SECONDS = 10.0
# When a dead letter is due by itself: never.
PARKED = "interval '100 years'"

# A message that carries the medium and still has it: of `m`, joined to the link `l` of the medium `d`.
_CARRIES = """l.media_id = d.id::text AND l.removed_at IS NULL AND NOT m.is_deleted
    AND (m.expires_at IS NULL OR m.expires_at > clock_timestamp())"""

_ACCESS = f"""
SELECT d.id, d.size, d.sha256, d.created_at FROM media d WHERE d.id = %s AND (
    EXISTS (
        SELECT 1 FROM media_links l JOIN messages m ON m.id = l.message_id
        JOIN members b ON b.conversation_id = m.conversation_id AND b.user_id = %s AND b.left_seq IS NULL
        WHERE {_CARRIES} AND (NOT m.withheld OR m.sender_id = b.user_id)
        AND (m.seq >= b.joined_seq OR EXISTS (
            SELECT 1 FROM member_spans s WHERE s.conversation_id = m.conversation_id AND s.user_id = b.user_id
            AND m.seq BETWEEN s.from_seq AND s.to_seq)))
    OR d.owner_id = %s AND (
        d.linked_at IS NULL AND NOT EXISTS (SELECT 1 FROM media_links l WHERE l.media_id = d.id::text)
        OR EXISTS (SELECT 1 FROM media_links l JOIN messages m ON m.id = l.message_id WHERE {_CARRIES})))"""

_REMOVE_UNUSED = """
DELETE FROM media WHERE id IN (
    SELECT d.id FROM media d
    WHERE (d.id = %s OR %s::uuid IS NULL AND d.linked_at IS NULL
           AND d.created_at < clock_timestamp() - make_interval(secs => %s))
    AND d.checked_at < clock_timestamp() - make_interval(secs => %s)
    AND NOT EXISTS (SELECT 1 FROM media_links l WHERE l.media_id = d.id::text AND l.removed_at IS NULL)
    LIMIT %s FOR UPDATE SKIP LOCKED)
RETURNING id"""


@dataclass(frozen=True, slots=True)
class ClaimedLink:
    """A link that the media service is to be told of: made, or `removed`."""

    id: int
    media_id: str
    message_id: UUID
    conversation_id: UUID
    removed: bool
    attempts: int


def parse_media_id(media_id: str) -> UUID | None:
    """The id of a medium of the built-in store; None for what is none, or not as it was given out."""
    try:
        known = UUID(media_id)
    except ValueError:
        return None
    return known if str(known) == media_id else None


def media_insert(media_id: UUID, owner_id: UUID, size: int, sha256: bytes) -> datetime:
    """Write the row of a medium whose bytes are on the disk; when. Raises RateLimited over what a user may store."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"media:{owner_id}"])
        cursor.execute(
            "SELECT coalesce(sum(size), 0), coalesce(sum(size) FILTER (WHERE linked_at IS NULL), 0)"
            " FROM media WHERE owner_id = %s",
            [owner_id],
        )
        stored, waiting = cursor.fetchone()
        if LIMITS.media_waiting_bytes and waiting + size > LIMITS.media_waiting_bytes:
            raise RateLimited("Too much media waits for its message.", retry_after=60.0)
        if LIMITS.media_user_bytes and stored + size > LIMITS.media_user_bytes:
            raise RateLimited("This user's media are over their limit.", retry_after=3600.0)
        cursor.execute(
            "INSERT INTO media (id, owner_id, size, sha256, created_at, checked_at)"
            " VALUES (%s, %s, %s, %s, clock_timestamp(), clock_timestamp()) RETURNING created_at",
            [media_id, owner_id, size, sha256],
        )
        created_at: datetime = cursor.fetchone()[0]
        return created_at


def get_media(user_id: UUID, media_id: UUID) -> MediaMetadata | None:
    """A medium that the user may fetch: a message that carries it is theirs to see, or they own it unsent.

    None for anything else: a medium whose messages all expired or were deleted is nobody's, from that moment on.
    """
    with connection.cursor() as cursor:
        cursor.execute(_ACCESS, [media_id, user_id, user_id])
        return _metadata(cursor.fetchone())


def media_check(owner_id: UUID, media_id: UUID, keep_until: datetime | None = None) -> MediaMetadata | None:
    """A medium of `owner_id`, kept for MEDIA_LEASE_SECONDS from now, or from `keep_until`; None where there is none."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE media SET checked_at = coalesce(%s, clock_timestamp()) WHERE id = %s AND owner_id = %s"
            " RETURNING id, size, sha256, created_at",
            [keep_until, media_id, owner_id],
        )
        return _metadata(cursor.fetchone())


def media_link(media_id: UUID) -> bool:
    """Note that a message carries the medium; False where it is not there. Again changes nothing."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE media SET linked_at = coalesce(linked_at, clock_timestamp()) WHERE id = %s", [media_id])
        return bool(cursor.rowcount)


def media_remove_unused(
    remove: Callable[[UUID], None], limit: int, grace_seconds: float, media_id: UUID | None = None
) -> int:
    """Remove media that no message carries: never sent and older than the grace, or else `media_id` alone; how many.

    `remove` takes the bytes away, inside the transaction: if it ends before the commit, the row is still there to say
    what is to be removed; no bytes are ever left without a row. It must not mind bytes that are gone.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_REMOVE_UNUSED, [media_id, media_id, grace_seconds, MEDIA_LEASE_SECONDS, limit])
        unused = [row[0] for row in cursor.fetchall()]
        for one in unused:
            remove(one)
        return len(unused)


def is_media_leased(media_id: UUID) -> bool:
    """Whether the medium is carried by nothing, and there only because a send asked for it a moment ago."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT 1 FROM media d WHERE d.id = %s AND NOT EXISTS ("
            " SELECT 1 FROM media_links l WHERE l.media_id = d.id::text AND l.removed_at IS NULL))",
            [media_id],
        )
        return bool(cursor.fetchone()[0])


def media_links_remove(cursor: CursorWrapper, message_ids: Sequence[UUID]) -> None:
    """Mark the links of messages whose content is taken away, in the transaction that does it."""
    cursor.execute(
        "UPDATE media_links SET removed_at = clock_timestamp(), next_try_at = clock_timestamp(), attempts = 0"
        " WHERE message_id = ANY(%s::uuid[]) AND removed_at IS NULL",
        [list(message_ids)],
    )


def media_links_claim(limit: int) -> list[ClaimedLink]:
    """Links that the media service is to be told of now, at most `limit`; for CLAIM_SECONDS nobody else gets them."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE media_links SET attempts = attempts + 1,"
            " next_try_at = clock_timestamp() + make_interval(secs => %s) WHERE id IN ("
            "  SELECT id FROM media_links WHERE (linked_at IS NULL OR removed_at IS NOT NULL)"
            "  AND next_try_at <= clock_timestamp() ORDER BY next_try_at LIMIT %s FOR UPDATE SKIP LOCKED)"
            " RETURNING id, media_id, message_id, conversation_id, removed_at IS NOT NULL, attempts",
            [CLAIM_SECONDS, limit],
        )
        return [ClaimedLink(*row) for row in cursor.fetchall()]


def media_link_settle(link: ClaimedLink) -> None:
    """The media service knows of a claimed link: it is done, unless it was removed meanwhile."""
    with connection.cursor() as cursor:
        if link.removed:
            cursor.execute("DELETE FROM media_links WHERE id = %s AND removed_at IS NOT NULL", [link.id])
        else:
            cursor.execute(
                "UPDATE media_links SET linked_at = clock_timestamp(), attempts = 0"
                " WHERE id = %s AND removed_at IS NULL",
                [link.id],
            )
            if not cursor.rowcount:  # removed while it was told: its removal is due now
                cursor.execute("UPDATE media_links SET next_try_at = clock_timestamp() WHERE id = %s", [link.id])


def media_link_retry(link: ClaimedLink, *, away: bool = False) -> float:
    """The media service did not take a claimed link: it is tried again after so many seconds.

    A service that is `away` costs the link none of its tries.
    """
    seconds = AWAY_SECONDS if away else float(min(2 ** min(link.attempts - 1, 12), BACKOFF_MAX_SECONDS))
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE media_links SET next_try_at = clock_timestamp() + make_interval(secs => %s),"
            " attempts = attempts - %s WHERE id = %s AND attempts = %s",
            [seconds, int(away), link.id, link.attempts],
        )
    return seconds


def media_link_give_up(link: ClaimedLink, code: str, detail: str) -> None:
    """A claimed link was refused too often: a dead letter, which is not tried again by itself."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE media_links SET next_try_at = clock_timestamp() + {PARKED} WHERE id = %s AND attempts = %s",
            [link.id, link.attempts],
        )
        if cursor.rowcount:
            dead_letter_write(MEDIA_LINK, str(link.id), code, detail)


def media_links_requeue(ids: Sequence[int]) -> list[int]:
    """Give links their tries back, now; those that are still there."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE media_links SET attempts = 0, next_try_at = clock_timestamp() WHERE id = ANY(%s::bigint[])"
            " RETURNING id",
            [list(ids)],
        )
        return [row[0] for row in cursor.fetchall()]


def _metadata(row: tuple[UUID, int, bytes, datetime] | None) -> MediaMetadata | None:
    return None if row is None else MediaMetadata(str(row[0]), row[1], bytes(row[2]), row[3])
