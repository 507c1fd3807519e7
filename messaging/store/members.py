"""Members: the gate of a conversation, who is in it, and every change of membership (docs/architecture.md "Tables").

A change happens under the conversation's row lock, in one transaction with the system entry that tells of it, so that
membership and messages have one order: whoever is removed at seq r sees r and nothing after, whoever is added at seq j
sees j and nothing before.
"""

from typing import Any, Literal
from uuid import UUID

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from messaging.events import Entry, MemberReceipt, MemberView
from messaging.store.blocks import DELIVERED_SHOWN
from messaging.store.locked import LockedConversation, append_system, conversation_lock
from messaging.store.privacy import tells
from whispr.kernel.errors import BadRequest, Forbidden, NotFound
from whispr.kernel.limits import LIMITS

Role = Literal["owner", "admin", "member"]
Entries = tuple[Entry, ...]
MANAGERS: frozenset[Role] = frozenset({"owner", "admin"})
# The conversation's setting under which those who are added see what was before them.
SHARED_HISTORY = "sharedHistory"


def get_role(cursor: CursorWrapper, conversation_id: UUID, user_id: UUID) -> Role | None:
    """The role of a current member of a conversation that is not deleted, None for anybody else."""
    cursor.execute(
        "SELECT m.role FROM members m JOIN conversations c ON c.id = m.conversation_id"
        " WHERE m.conversation_id = %s AND m.user_id = %s AND m.left_seq IS NULL AND c.deleted_at IS NULL",
        [conversation_id, user_id],
    )
    row: tuple[Role] | None = cursor.fetchone()
    return None if row is None else row[0]


def access_member(cursor: CursorWrapper, conversation_id: UUID, user_id: UUID) -> Role:
    """The caller's role. Raises NotFound for who is not a member, whether or not the conversation exists."""
    role = get_role(cursor, conversation_id, user_id)
    if role is None:
        raise NotFound
    return role


def access_locked(cursor: CursorWrapper, conversation_id: UUID, user_id: UUID) -> tuple[LockedConversation, Role]:
    """Lock the conversation for a change by one of its members, and read the member's role inside the lock.

    Who is not a member is refused before the lock, so that strangers cannot queue on it. Raises NotFound.
    """
    access_member(cursor, conversation_id, user_id)
    locked = conversation_lock(cursor, conversation_id)
    if locked is None or locked.deleted_at is not None:
        raise NotFound
    return locked, access_member(cursor, conversation_id, user_id)


def access_group(locked: LockedConversation) -> None:
    """Raises Forbidden for a direct conversation: its two members are who they are."""
    if locked.type != "group":
        raise Forbidden("The members of a direct conversation do not change.")


def list_members(user_id: UUID, conversation_id: UUID) -> list[MemberView]:
    """The current members, oldest first, at most `LIMITS.members_per_conversation`. Raises NotFound for a
    non-member."""
    with connection.cursor() as cursor:
        access_member(cursor, conversation_id, user_id)
        return _get_members(cursor, conversation_id)


def _get_members(cursor: CursorWrapper, conversation_id: UUID) -> list[MemberView]:
    cursor.execute(
        "SELECT user_id, role, joined_seq, joined_at FROM members"
        " WHERE conversation_id = %s AND left_seq IS NULL ORDER BY joined_seq, user_id",
        [conversation_id],
    )
    return [MemberView(*row) for row in cursor.fetchall()]


def list_receipts(user_id: UUID, conversation_id: UUID) -> list[MemberReceipt]:
    """How far each current member received and read. Raises NotFound for a non-member.

    Of others only what they let others know (`public_read_seq`), and 0 for a caller who does not tell either; of the
    caller the own `read_seq` (docs/protocol.md §8.5).
    """
    with connection.cursor() as cursor:
        access_member(cursor, conversation_id, user_id)
    return list_receipts_of(user_id, [conversation_id]).get(conversation_id, [])


def list_receipts_of(user_id: UUID, conversation_ids: list[UUID]) -> dict[UUID, list[MemberReceipt]]:
    """`list_receipts` for several conversations at once; those in which the user is no longer a member are left out."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT m.conversation_id, m.user_id, {DELIVERED_SHOWN},"
            f" CASE WHEN m.user_id = me.user_id THEN m.read_seq WHEN {tells('me')} THEN m.public_read_seq ELSE 0 END"
            " FROM members me JOIN members m ON m.conversation_id = me.conversation_id AND m.left_seq IS NULL"
            " JOIN conversations c ON c.id = me.conversation_id LEFT JOIN user_settings s ON s.user_id = me.user_id"
            " WHERE me.user_id = %s AND me.conversation_id = ANY(%s::uuid[]) AND me.left_seq IS NULL"
            " ORDER BY m.conversation_id, m.joined_seq, m.user_id",
            [user_id, conversation_ids],
        )
        found: dict[UUID, list[MemberReceipt]] = {}
        for conversation_id, *receipt in cursor.fetchall():
            found.setdefault(conversation_id, []).append(MemberReceipt(*receipt))
        return found


def _lock_rows(cursor: CursorWrapper, conversation_id: UUID, user_ids: list[UUID]) -> None:
    """Lock members' rows in the order in which receipts lock them, so that neither waits for the other in a circle."""
    cursor.execute(
        "SELECT 1 FROM members WHERE conversation_id = %s AND user_id = ANY(%s::uuid[])"
        " ORDER BY user_id FOR NO KEY UPDATE",
        [conversation_id, user_ids],
    )


def members_insert(
    cursor: CursorWrapper, conversation_id: UUID, joined_seq: int, version: int, roles: dict[UUID, Role]
) -> None:
    """Write the memberships that begin at `joined_seq`, in `members_version` `version`; under the conversation's lock.

    A returning user's closed span moves to `member_spans` and the row begins anew. The watermarks stay: they say what
    was received and read in the earlier span, and raising them over the gap would claim a receipt that nobody gave.
    """
    users = list(roles)
    _lock_rows(cursor, conversation_id, users)
    cursor.execute(
        "INSERT INTO member_spans (conversation_id, user_id, from_seq, to_seq)"
        " SELECT conversation_id, user_id, joined_seq, left_seq FROM members"
        " WHERE conversation_id = %s AND user_id = ANY(%s::uuid[]) AND left_seq IS NOT NULL",
        [conversation_id, users],
    )
    cursor.execute(
        "INSERT INTO members (conversation_id, user_id, role, joined_seq, delivered_seq, read_seq, public_read_seq,"
        " changed_version, joined_at, changed_at)"
        " SELECT %s, u.user_id, u.role, %s, 0, 0, 0, %s, clock_timestamp(), clock_timestamp()"
        " FROM unnest(%s::uuid[], %s::text[]) AS u (user_id, role)"
        " ON CONFLICT (conversation_id, user_id) DO UPDATE SET role = excluded.role, joined_seq = excluded.joined_seq,"
        " left_seq = NULL, changed_version = excluded.changed_version, joined_at = excluded.joined_at,"
        " changed_at = excluded.changed_at",
        [conversation_id, joined_seq, version, users, list(roles.values())],
    )


def history_share(cursor: CursorWrapper, conversation_id: UUID, joined_seq: int, user_ids: list[UUID]) -> None:
    """Let users who join at `joined_seq` see everything before it: spans where their own earlier ones leave gaps."""
    cursor.execute(
        "INSERT INTO member_spans (conversation_id, user_id, from_seq, to_seq, shared)"
        " SELECT %s, u.user_id, lower(g), upper(g) - 1, true FROM unnest(%s::uuid[]) AS u (user_id)"
        " CROSS JOIN LATERAL unnest(int8multirange(int8range(1, %s::bigint)) - coalesce((SELECT"
        " range_agg(int8range(s.from_seq, s.to_seq + 1)) FROM member_spans s"
        " WHERE s.conversation_id = %s AND s.user_id = u.user_id), '{}'::int8multirange)) AS g",
        [conversation_id, user_ids, joined_seq, conversation_id],
    )


def members_close(
    cursor: CursorWrapper, conversation_id: UUID, left_seq: int, version: int, user_ids: list[UUID]
) -> None:
    """End memberships at `left_seq`, the entry that tells of it, in `members_version` `version`; under the lock."""
    _lock_rows(cursor, conversation_id, user_ids)
    cursor.execute(
        "UPDATE members SET left_seq = %s, changed_version = %s, changed_at = clock_timestamp()"
        " WHERE conversation_id = %s AND user_id = ANY(%s::uuid[]) AND left_seq IS NULL",
        [left_seq, version, conversation_id, user_ids],
    )
    cursor.execute(
        "DELETE FROM drafts WHERE conversation_id = %s AND user_id = ANY(%s::uuid[])", [conversation_id, user_ids]
    )


def members_count(cursor: CursorWrapper, locked: LockedConversation, change: int) -> None:
    """Count a change of membership: `members_version` + 1, `member_count` + `change`; under the lock."""
    locked.members_version += 1
    locked.member_count += change
    cursor.execute(
        "UPDATE conversations SET members_version = %s, member_count = %s WHERE id = %s",
        [locked.members_version, locked.member_count, locked.id],
    )


def members_add(user_id: UUID, conversation_id: UUID, user_ids: list[UUID]) -> tuple[Entries, list[MemberView]]:
    """Add users to a group: one `member_added` entry, at whose seq they join; who is a member already is passed over.

    Where the conversation shares its history they see everything before it as well; unread counts from the join. Gives
    the entry, if there is one, and the members as they are then.

    Raises NotFound for a non-member, Forbidden where the caller is neither owner nor admin or the conversation is
    direct, BadRequest over `LIMITS.members_per_conversation`.
    """
    wanted = list(dict.fromkeys(user_ids))
    with transaction.atomic(), connection.cursor() as cursor:
        locked, role = access_locked(cursor, conversation_id, user_id)
        access_group(locked)
        if role not in MANAGERS:
            raise Forbidden("Only the owner and admins add members.")
        cursor.execute(
            "SELECT user_id FROM members WHERE conversation_id = %s AND user_id = ANY(%s::uuid[]) AND left_seq IS NULL",
            [conversation_id, wanted],
        )
        present = {row[0] for row in cursor.fetchall()}
        fresh = [user for user in wanted if user not in present]
        if not fresh:
            return (), _get_members(cursor, conversation_id)
        if locked.member_count + len(fresh) > LIMITS.members_per_conversation:
            raise BadRequest(f"A conversation has at most {LIMITS.members_per_conversation} members.")
        details = _who(fresh, user_id)
        if locked.settings.get(SHARED_HISTORY) is True:
            details[SHARED_HISTORY] = True
        entry = append_system(cursor, locked, by=user_id, event="member_added", details=details)
        members_count(cursor, locked, len(fresh))
        members_insert(cursor, conversation_id, entry.seq, locked.members_version, dict.fromkeys(fresh, "member"))
        if SHARED_HISTORY in details:
            history_share(cursor, conversation_id, entry.seq, fresh)
        return (entry,), _get_members(cursor, conversation_id)


def member_remove(user_id: UUID, conversation_id: UUID, member_id: UUID) -> Entries:
    """Remove a member from a group, or leave it: one `member_removed` entry, the last that the member sees.

    The owner removes anybody, an admin removes plain members, everybody may leave. An owner who leaves hands over to
    the oldest admin, else to the oldest member, in a `conversation_updated` entry just before. Raises NotFound for a
    non-member or where `member_id` is none, Forbidden where it is not the caller's to do.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        locked, role = access_locked(cursor, conversation_id, user_id)
        access_group(locked)
        target = role if member_id == user_id else get_role(cursor, conversation_id, member_id)
        if member_id != user_id:
            if role not in MANAGERS:
                raise Forbidden("Only the owner and admins remove members.")
            if target is None:
                raise NotFound
            if role == "admin" and target != "member":
                raise Forbidden("Only the owner removes an admin.")
        entries: list[Entry] = []
        if target == "owner":
            heir = _heir(cursor, conversation_id, member_id)
            if heir is not None:
                entries.append(_role_write(cursor, locked, by=user_id, roles={heir: "owner"}))
        entry = append_system(cursor, locked, by=user_id, event="member_removed", details=_who([member_id], user_id))
        members_count(cursor, locked, -1)
        members_close(cursor, conversation_id, entry.seq, locked.members_version, [member_id])
        return (*entries, entry)


def member_update(user_id: UUID, conversation_id: UUID, member_id: UUID, role: Role) -> tuple[Entries, MemberView]:
    """Give a member of a group another role: one `conversation_updated` entry, none where nothing changes.

    The owner alone does it. Making another the owner makes the caller an admin: a group has one owner. The membership
    stays as it is, so `members_version` does. Raises NotFound for a non-member or where `member_id` is none, Forbidden
    otherwise.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        locked, own_role = access_locked(cursor, conversation_id, user_id)
        access_group(locked)
        if own_role != "owner":
            raise Forbidden("Only the owner changes roles.")
        present = own_role if member_id == user_id else get_role(cursor, conversation_id, member_id)
        if present is None:
            raise NotFound
        if present == role:
            return (), _get_member(cursor, conversation_id, member_id)
        if member_id == user_id:
            raise Forbidden("The owner makes another member the owner instead.")
        roles: dict[UUID, Role] = {member_id: role}
        if role == "owner":
            roles[user_id] = "admin"
        entry = _role_write(cursor, locked, by=user_id, roles=roles)
        return (entry,), _get_member(cursor, conversation_id, member_id)


def _get_member(cursor: CursorWrapper, conversation_id: UUID, member_id: UUID) -> MemberView:
    return next(member for member in _get_members(cursor, conversation_id) if member.user_id == member_id)


def _role_write(cursor: CursorWrapper, locked: LockedConversation, *, by: UUID, roles: dict[UUID, Role]) -> Entry:
    """Write roles and their `conversation_updated` entry `{by, roles: {userId: role}}`."""
    details: dict[str, Any] = {"by": str(by), "roles": {str(user): role for user, role in roles.items()}}
    entry = append_system(cursor, locked, by=by, event="conversation_updated", details=details)
    _lock_rows(cursor, locked.id, list(roles))
    cursor.execute(
        "UPDATE members m SET role = u.role, changed_at = clock_timestamp()"
        " FROM unnest(%s::uuid[], %s::text[]) AS u (user_id, role)"
        " WHERE m.conversation_id = %s AND m.user_id = u.user_id",
        [list(roles), list(roles.values()), locked.id],
    )
    return entry


def _heir(cursor: CursorWrapper, conversation_id: UUID, owner_id: UUID) -> UUID | None:
    cursor.execute(
        "SELECT user_id FROM members WHERE conversation_id = %s AND left_seq IS NULL AND user_id <> %s"
        " ORDER BY role <> 'admin', joined_seq, user_id LIMIT 1",
        [conversation_id, owner_id],
    )
    row: tuple[UUID] | None = cursor.fetchone()
    return None if row is None else row[0]


def _who(user_ids: list[UUID], by: UUID) -> dict[str, Any]:
    return {"userIds": [str(user) for user in user_ids], "by": str(by)}
