"""Whether the database has every migration, without starting Django (which takes a second or more of a start)."""

import contextlib
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from whispr.embedded.process import PROJECT


@dataclass(frozen=True)
class Stamp:
    """What the last migration left: which migrations there were, and what the database says of those that it has."""

    data: Path
    url: str

    @property
    def path(self) -> Path:
        """Where it is kept."""
        return self.data / "migrated.json"

    def is_current(self) -> bool:
        """Whether nothing has changed since: neither our migrations, nor the packages that bring some, nor the
        database.
        """
        try:
            return bool(json.loads(self.path.read_text()) == self._now())
        except (OSError, ValueError):
            return False

    def write(self) -> None:
        """Note the present state, right after a migration."""
        with contextlib.suppress(ValueError):
            self.path.write_text(json.dumps(self._now()))

    def _now(self) -> dict[str, str]:
        return {"files": _files(), "database": _applied(self.url)}


def _files() -> str:
    """A fingerprint of the project's migrations and of what pins the packages' own."""
    digest = hashlib.sha256()
    for path in sorted(
        [*PROJECT.glob("*/migrations/*.py"), PROJECT / "requirements.txt", PROJECT / "whispr/settings.py"]
    ):
        digest.update(str(path.relative_to(PROJECT)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _applied(url: str) -> str:
    """What the database says: which one it is, how many migrations it has had and which was the last.

    Raises ValueError when it does not say.
    """
    import psycopg

    # The identity of the cluster and of the database: the same address may lead to another one tomorrow.
    query = """
        SELECT (SELECT system_identifier FROM pg_control_system())::text || ' ' || oid || ' '
            || (SELECT count(*) || ' ' || max(id) FROM django_migrations)
        FROM pg_database WHERE datname = current_database()
    """
    try:
        with psycopg.connect(url, connect_timeout=10) as connection:
            row = connection.execute(query).fetchone()
    except psycopg.Error as error:
        # No table yet, or rights that are too few to ask.
        raise ValueError("the database does not say") from error
    return str(row[0]) if row else ""
