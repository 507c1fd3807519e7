"""Drafts: one a user and conversation, with a revision that only grows (docs/protocol.md §7 `messages/drafts`)."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from messaging.events import Actor
from messaging.personal import DraftView
from messaging.store.members import access_member
from whispr.kernel.errors import BadRequest, EditConflict, NotFound
from whispr.kernel.limits import LIMITS

_VIEW = "conversation_id, content, revision, changed_by, changed_at"


def _view(row: Sequence[Any]) -> DraftView:
    return DraftView(row[0], bytes(row[1]), *row[2:])


def draft_save(actor: Actor, conversation_id: UUID, content: bytes, revision: int | None) -> tuple[DraftView, bool]:
    """Write the user's draft of a conversation: as it is then, and whether it is new.

    `revision` is the one that the device knows of, 0 for none; None replaces whatever there is. A first revision is the
    time in milliseconds, so that one of before a deletion is never met again, and a device that held it is told so.
    Raises NotFound for a non-member, EditConflict (`details.revision`) where the revision is another one, BadRequest
    over `LIMITS.drafts_per_user`.
    """
    now = datetime.now(UTC)  # of the same clock as the sends that clear drafts (`NewEntry.draft_before`)
    with transaction.atomic(), connection.cursor() as cursor:
        access_member(cursor, conversation_id, actor.user_id)
        current = _lock(cursor, actor.user_id, conversation_id, revision)
        if current:
            cursor.execute(
                "UPDATE drafts SET content = %s, revision = revision + 1, changed_by = %s, changed_at = %s"
                f" WHERE user_id = %s AND conversation_id = %s RETURNING {_VIEW}",
                [content, actor.device_id, now, actor.user_id, conversation_id],
            )
            return _view(cursor.fetchone()), False
        _check_room(cursor, actor.user_id)
        cursor.execute(
            "INSERT INTO drafts (user_id, conversation_id, content, revision, changed_by, changed_at)"
            f" VALUES (%s, %s, %s, %s, %s, %s) RETURNING {_VIEW}",
            [actor.user_id, conversation_id, content, int(now.timestamp() * 1000), actor.device_id, now],
        )
        return _view(cursor.fetchone()), True


def _lock(cursor: CursorWrapper, user_id: UUID, conversation_id: UUID, revision: int | None) -> int:
    """The current revision, 0 where there is no draft; nobody else changes this user's drafts until the commit."""
    cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('drafts:' || %s::text, 0))", [str(user_id)])
    cursor.execute(
        "SELECT revision FROM drafts WHERE user_id = %s AND conversation_id = %s FOR UPDATE", [user_id, conversation_id]
    )
    row = cursor.fetchone()
    current = 0 if row is None else int(row[0])
    if revision is not None and revision != current:
        raise EditConflict("The draft has another revision.", details={"revision": current})
    return current


def _check_room(cursor: CursorWrapper, user_id: UUID) -> None:
    cursor.execute("SELECT count(*) FROM drafts WHERE user_id = %s", [user_id])
    if cursor.fetchone()[0] >= LIMITS.drafts_per_user:
        raise BadRequest(
            f"This user has {LIMITS.drafts_per_user} drafts; delete one first.", details={"max": LIMITS.drafts_per_user}
        )


def draft_delete(user_id: UUID, conversation_id: UUID, revision: int | None) -> int:
    """Delete the user's draft; the revision that it had. Raises NotFound where there is none, EditConflict."""
    with transaction.atomic(), connection.cursor() as cursor:
        access_member(cursor, conversation_id, user_id)
        current = _lock(cursor, user_id, conversation_id, revision)
        if not current:
            raise NotFound
        cursor.execute("DELETE FROM drafts WHERE user_id = %s AND conversation_id = %s", [user_id, conversation_id])
        return current


def draft_clear(cursor: CursorWrapper, actor: Actor, conversation_id: UUID) -> int | None:
    """Delete the draft that became a scheduled message: if this device wrote it last. Its revision, or None."""
    cursor.execute(
        "DELETE FROM drafts WHERE user_id = %s AND conversation_id = %s AND changed_by = %s RETURNING revision",
        [actor.user_id, conversation_id, actor.device_id],
    )
    row = cursor.fetchone()
    return None if row is None else int(row[0])


def get_draft(user_id: UUID, conversation_id: UUID) -> DraftView:
    """The user's draft of a conversation. Raises NotFound where there is none, or for a non-member."""
    with connection.cursor() as cursor:
        access_member(cursor, conversation_id, user_id)
        cursor.execute(
            f"SELECT {_VIEW} FROM drafts WHERE user_id = %s AND conversation_id = %s", [user_id, conversation_id]
        )
        row = cursor.fetchone()
    if row is None:
        raise NotFound
    return _view(row)


def list_drafts(user_id: UUID, bytes_max: int, after: UUID | None = None) -> tuple[list[DraftView], bool]:
    """Drafts of the user, the latest changed first, those that follow the one of the conversation `after`; and whether
    there are more.

    At most one more than fit into `bytes_max` of content, and `LIMITS.drafts_per_user`.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {_VIEW}, d.more FROM (SELECT d.*, lead(d.id) OVER (ORDER BY d.changed_at DESC, d.id DESC)"
            " IS NOT NULL AS more, sum(octet_length(d.content)) OVER (ORDER BY d.changed_at DESC, d.id DESC"
            " ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before FROM drafts d"
            " WHERE user_id = %s AND EXISTS (SELECT 1 FROM members m"
            " WHERE m.conversation_id = d.conversation_id AND m.user_id = d.user_id AND m.left_seq IS NULL)"
            " AND (%s::uuid IS NULL OR (d.changed_at, d.id) < (SELECT a.changed_at, a.id FROM drafts a"
            " WHERE a.user_id = d.user_id AND a.conversation_id = %s))"
            " ORDER BY changed_at DESC, id DESC LIMIT %s) d"
            " WHERE coalesce(d.before, 0) < %s ORDER BY changed_at DESC, id DESC",
            [user_id, after, after, LIMITS.drafts_per_user, bytes_max],
        )
        rows = cursor.fetchall()
        return [_view(row[:-1]) for row in rows], bool(rows) and rows[-1][-1]
