"""Devices and user settings: their rows (docs/protocol.md §1, §3).

Plain synchronous functions on Django's connection, for `whispr.kernel.database.run`. They decide nothing about rights.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec
from django.db import connection, transaction

from delivery.store.push_preferences import Choice, get_push_choices
from messaging.devices import (
    ConversationDevices,
    DeviceChange,
    DeviceState,
    DeviceView,
    NotificationChoice,
    NotificationSettings,
    PeerDevice,
    UserSettingsView,
)
from whispr.kernel.limits import LIMITS

# The columns of a DeviceView, in its order. Constant text: no value ever enters a statement but as a parameter.
_VIEW = (
    "id, user_id, name, platform, public_key, encryption_key, push_token <> '' AS has_push_token, created_at,"
    " last_seen_at, revoked_at"
)
_GET = f"SELECT {_VIEW} FROM devices WHERE id = %s"
_UPDATE = (
    "UPDATE devices SET name = coalesce(%s, name), platform = coalesce(%s, platform),"
    " push_token = coalesce(%s, push_token), public_key = coalesce(%s, public_key),"
    " encryption_key = coalesce(%s, encryption_key),"
    " keys_changed_at = CASE WHEN coalesce(%s, public_key) IS DISTINCT FROM public_key"
    " OR coalesce(%s, encryption_key) IS DISTINCT FROM encryption_key THEN clock_timestamp() ELSE keys_changed_at END"
    f" WHERE id = %s AND user_id = %s AND revoked_at IS NULL RETURNING {_VIEW}"
)
_LIST = (
    f"(SELECT {_VIEW} FROM devices WHERE user_id = %s AND revoked_at IS NULL ORDER BY created_at, id)"
    " UNION ALL"
    f" (SELECT {_VIEW} FROM devices WHERE user_id = %s AND revoked_at IS NOT NULL"
    " ORDER BY revoked_at DESC, id LIMIT %s)"
)


def device_touch(user_id: UUID, device_id: UUID, devices_max: int) -> DeviceState | None:
    """The state of the device, which is registered where it is not known yet; None where the user has `devices_max`.

    One SELECT for a device seen within the last minute; `last_seen_at` is written at most once a minute. A device of
    another user or a revoked one is returned as it is, and never written. One that was away for more than
    LIMITS.device_retention_days is marked as expired, and loses its cursors.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT user_id, public_key, revoked_at IS NOT NULL,"
            f" last_seen_at < clock_timestamp() - interval '60 seconds', {_AWAY} FROM devices WHERE id = %s",
            [LIMITS.device_retention_days, LIMITS.device_retention_days, device_id],
        )
        row = cursor.fetchone()
        if row is None:
            return _device_insert(user_id, device_id, devices_max)
        state = _state(row)
        if row[3] and state.user_id == user_id and not state.revoked:
            if row[4]:
                _expire(cursor, [device_id])
            cursor.execute(
                "UPDATE devices SET last_seen_at = clock_timestamp()"
                " WHERE id = %s AND last_seen_at < clock_timestamp() - interval '60 seconds'",
                [device_id],
            )
    return state


# Whether a device was away for more than so many days (0: no device expires); the parameter comes twice.
_AWAY = "(%s > 0 AND last_seen_at < clock_timestamp() - make_interval(days => %s))"


def _expire(cursor: Any, device_ids: list[UUID]) -> None:
    with transaction.atomic():
        cursor.execute(
            "UPDATE devices SET expired_at = clock_timestamp() WHERE id = ANY(%s::uuid[]) AND expired_at IS NULL",
            [device_ids],
        )
        cursor.execute("DELETE FROM device_cursors WHERE device_id = ANY(%s::uuid[])", [device_ids])


def devices_expire(limit: int) -> int:
    """Mark up to `limit` devices that were away for too long, and forget what they acknowledged; how many."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            f"SELECT id FROM devices WHERE {_AWAY} AND expired_at IS NULL AND revoked_at IS NULL"
            " LIMIT %s FOR NO KEY UPDATE SKIP LOCKED",
            [LIMITS.device_retention_days, LIMITS.device_retention_days, limit],
        )
        device_ids = [row[0] for row in cursor.fetchall()]
        if device_ids:
            _expire(cursor, device_ids)
    return len(device_ids)


def device_expiry_take(device_id: UUID) -> bool:
    """Whether the device is to begin anew because it was away for too long; true once."""
    with connection.cursor() as cursor:
        # Asked first: a database that takes no writes can still be read.
        cursor.execute("SELECT 1 FROM devices WHERE id = %s AND expired_at IS NOT NULL", [device_id])
        if cursor.fetchone() is None:
            return False
        cursor.execute(
            "UPDATE devices SET expired_at = NULL WHERE id = %s AND expired_at IS NOT NULL RETURNING true", [device_id]
        )
        return cursor.fetchone() is not None


def devices_seen(seen: Mapping[UUID, float]) -> None:
    """Note when devices were last there: so many seconds ago, never earlier than is known already."""
    with connection.cursor() as cursor:
        cursor.execute(
            # Locked in id order: two processes that note the same devices must not wait for each other in a circle.
            "WITH s AS (SELECT d.id, u.ago FROM unnest(%s::uuid[], %s::float8[]) AS u (id, ago)"
            " JOIN devices d ON d.id = u.id AND d.revoked_at IS NULL ORDER BY d.id FOR NO KEY UPDATE OF d)"
            " UPDATE devices d SET last_seen_at = greatest(d.last_seen_at,"
            " clock_timestamp() - make_interval(secs => s.ago)) FROM s WHERE d.id = s.id",
            [list(seen), list(seen.values())],
        )


def _device_insert(user_id: UUID, device_id: UUID, devices_max: int) -> DeviceState | None:
    with transaction.atomic(), connection.cursor() as cursor:
        if not _has_room(cursor, user_id, devices_max):
            return None
        cursor.execute(
            "INSERT INTO devices (id, user_id, name, platform, push_token) VALUES (%s, %s, '', '', '')"
            " ON CONFLICT (id) DO NOTHING",
            [device_id, user_id],
        )
        # Read again: another process, or another user with the same id, may have been first.
        cursor.execute("SELECT user_id, public_key, revoked_at IS NOT NULL FROM devices WHERE id = %s", [device_id])
        return _state(cursor.fetchone())


def _has_room(cursor: Any, user_id: UUID, devices_max: int) -> bool:
    # One registration of a user at a time, until the transaction ends: two at once could both pass a bare count.
    cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('devices:' || %s::text, 0))", [str(user_id)])
    cursor.execute("SELECT count(*) FROM devices WHERE user_id = %s AND revoked_at IS NULL", [user_id])
    return bool(cursor.fetchone()[0] < devices_max)


def _lock_push_token(cursor: Any, token: str | None) -> None:
    """One registration of a token at a time, before any row of `devices` is locked: two at once would not see each
    other, or wait for each other."""
    if token:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('push_token:' || %s, 0))", [token])


def _take_push_token(cursor: Any, device_id: UUID, token: str | None) -> None:
    """A push token belongs to one installation: who registers it last has it. A phone that changed hands would
    otherwise show its new owner what waits for the old one."""
    if token:
        cursor.execute(
            "UPDATE devices SET push_token = '' WHERE push_token = %s AND push_token <> '' AND id <> %s",
            [token, device_id],
        )


def device_insert(user_id: UUID, device_id: UUID, change: DeviceChange, devices_max: int) -> bool | None:
    """Insert a device with its keys. True: inserted; False: the id exists already; None: the user has `devices_max`."""
    with transaction.atomic(), connection.cursor() as cursor:
        _lock_push_token(cursor, change.push_token)
        if not _has_room(cursor, user_id, devices_max):
            return None
        _take_push_token(cursor, device_id, change.push_token)
        cursor.execute(
            "INSERT INTO devices (id, user_id, name, platform, push_token, public_key, encryption_key)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (id) DO NOTHING",
            [
                device_id,
                user_id,
                change.name or "",
                change.platform or "",
                change.push_token or "",
                change.public_key,
                change.encryption_key,
            ],
        )
        return bool(cursor.rowcount == 1)


def device_update(user_id: UUID, device_id: UUID, change: DeviceChange) -> DeviceView | None:
    """Change a live device of the user; None where there is no such device, or it is revoked."""
    with transaction.atomic(), connection.cursor() as cursor:
        _lock_push_token(cursor, change.push_token)
        cursor.execute(
            _UPDATE,
            [
                change.name,
                change.platform,
                change.push_token,
                change.public_key,
                change.encryption_key,
                change.public_key,
                change.encryption_key,
                device_id,
                user_id,
            ],
        )
        row = cursor.fetchone()
        if row is not None:
            _take_push_token(cursor, device_id, change.push_token)
    return None if row is None else _view(row)


def device_revoke(user_id: UUID, device_id: UUID) -> bool | None:
    """Revoke a device of the user, forget its push token. True: now; False: it was; None: there is no such device."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT revoked_at FROM devices WHERE id = %s AND user_id = %s FOR UPDATE", [device_id, user_id])
        row = cursor.fetchone()
        if row is None:
            return None
        if row[0] is not None:
            return False
        cursor.execute(
            "UPDATE devices SET revoked_at = clock_timestamp(), push_token = '' WHERE id = %s",
            [device_id],
        )
        return True


def device_make_room(user_id: UUID, device_id: UUID, devices_max: int) -> tuple[UUID, ...]:
    """Where `device_id` is new and the user has no room for it: revoke those seen longest ago; returns their ids."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM devices WHERE id = %s", [device_id])
        if cursor.fetchone() is not None or _has_room(cursor, user_id, devices_max):
            return ()
        cursor.execute(
            "UPDATE devices SET revoked_at = clock_timestamp(), push_token = '' WHERE id IN"
            " (SELECT id FROM devices WHERE user_id = %s AND revoked_at IS NULL"
            " ORDER BY last_seen_at DESC, id OFFSET %s FOR UPDATE) RETURNING id",
            [user_id, devices_max - 1],
        )
        return tuple(row[0] for row in cursor.fetchall())


def get_device(device_id: UUID) -> DeviceView | None:
    """The device, whoever's it is."""
    with connection.cursor() as cursor:
        cursor.execute(_GET, [device_id])
        row = cursor.fetchone()
    return None if row is None else _view(row)


def list_devices(user_id: UUID, revoked_max: int) -> tuple[DeviceView, ...]:
    """The user's live devices, oldest first, then at most `revoked_max` revoked ones, the last revoked first."""
    with connection.cursor() as cursor:
        cursor.execute(_LIST, [user_id, user_id, revoked_max])
        return tuple(_view(row) for row in cursor.fetchall())


def list_device_states(device_ids: Sequence[UUID]) -> dict[UUID, DeviceState]:
    """The states of the devices that exist, in one query."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT user_id, public_key, revoked_at IS NOT NULL, id FROM devices WHERE id = ANY(%s)", [list(device_ids)]
        )
        return {row[3]: _state(row) for row in cursor.fetchall()}


def list_conversation_devices(conversation_id: UUID, user_id: UUID) -> ConversationDevices | None:
    """The live members' live devices and the members' version, of one snapshot; None for who is no live member."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.members_version, d.id, d.user_id, d.public_key, d.encryption_key FROM conversations c"
            " JOIN members me ON me.conversation_id = c.id AND me.user_id = %s AND me.left_seq IS NULL"
            " JOIN members m ON m.conversation_id = c.id AND m.left_seq IS NULL"
            " LEFT JOIN devices d ON d.user_id = m.user_id AND d.revoked_at IS NULL"
            " WHERE c.id = %s AND c.deleted_at IS NULL ORDER BY d.user_id, d.id",
            [user_id, conversation_id],
        )
        rows = cursor.fetchall()
    if not rows:
        return None
    return ConversationDevices(rows[0][0], tuple(_peers(rows)))


def find_user_settings(user_id: UUID) -> UserSettingsView | None:
    """The user's settings; None where nothing was ever set."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT read_receipts, share_last_seen FROM user_settings WHERE user_id = %s", [user_id])
        row = cursor.fetchone()
    return None if row is None else UserSettingsView(row[0], row[1], _get_notifications(user_id))


def get_user_settings(user_id: UUID) -> UserSettingsView:
    """The user's settings; the defaults where nothing was ever set."""
    return find_user_settings(user_id) or UserSettingsView()


def user_settings_update(
    user_id: UUID, read_receipts: bool | None, share_last_seen: bool | None
) -> tuple[UserSettingsView, bool]:
    """Set the user's settings, None leaving one as it is: the settings then, and whether anything changed."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("INSERT INTO user_settings (user_id) VALUES (%s) ON CONFLICT DO NOTHING", [user_id])
        cursor.execute(
            "SELECT read_receipts, share_last_seen FROM user_settings WHERE user_id = %s FOR NO KEY UPDATE", [user_id]
        )
        row = cursor.fetchone()
        before = UserSettingsView(row[0], row[1], _get_notifications(user_id))
        after = UserSettingsView(
            before.read_receipts if read_receipts is None else read_receipts,
            before.share_last_seen if share_last_seen is None else share_last_seen,
            before.notifications,
        )
        if after != before:
            cursor.execute(
                "UPDATE user_settings SET read_receipts = %s, share_last_seen = %s, changed_at = clock_timestamp()"
                " WHERE user_id = %s",
                [after.read_receipts, after.share_last_seen, user_id],
            )
        return after, after != before


def _get_notifications(user_id: UUID) -> NotificationSettings | msgspec.UnsetType:
    choices = get_push_choices(user_id)
    if not choices:
        return msgspec.UNSET
    general = choices.pop(None, Choice())
    return NotificationSettings(
        *general, {key: NotificationChoice(*choice) for key, choice in choices.items() if key is not None}
    )


def _peers(rows: Iterable[Any]) -> Iterable[PeerDevice]:
    for _, device_id, user_id, public_key, encryption_key in rows:
        if device_id is not None:
            yield PeerDevice(device_id, user_id, _bytes(public_key), _bytes(encryption_key))


def _bytes(value: Any) -> bytes | None:
    return None if value is None else bytes(value)


def _state(row: Any) -> DeviceState:
    return DeviceState(user_id=row[0], public_key=_bytes(row[1]), revoked=row[2])


def _view(row: Any) -> DeviceView:
    device_id, user_id, name, platform, public_key, encryption_key, has_push_token, created_at, seen_at, revoked_at = (
        row
    )
    return DeviceView(
        device_id,
        user_id,
        name,
        platform,
        _bytes(public_key),
        _bytes(encryption_key),
        has_push_token,
        created_at,
        seen_at,
        revoked_at,
    )
