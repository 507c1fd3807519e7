"""The names that signed in through the development sign-in (docs/protocol.md §7 `dev/people`)."""

from uuid import UUID

from django.db import connection


def dev_person_seen(user_id: UUID, name: str) -> None:
    """Remember the name, and that it signed in now."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO dev_people (user_id, name) VALUES (%s, %s) ON CONFLICT (user_id)"
            " DO UPDATE SET name = excluded.name, signed_in_at = clock_timestamp()",
            [user_id, name],
        )


def list_dev_people(limit: int) -> list[tuple[UUID, str]]:
    """The last `limit` people who signed in, the latest first."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT user_id, name FROM dev_people ORDER BY signed_in_at DESC, user_id LIMIT %s",
            [limit],
        )
        return [(row[0], row[1]) for row in cursor.fetchall()]
