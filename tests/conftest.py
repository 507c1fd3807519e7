"""What all tests share: a test database that is made and dropped without a hurry, and that nothing of ours holds open."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection, connections


@pytest.fixture(scope="session")
def django_db_modify_db_settings() -> dict[str, Any]:
    """The settings as they are, while the database is made without their deadlines.

    CREATE and DROP DATABASE wait for checkpoints of the whole server, a busy one's longer than any request may take.
    """
    options = connection.settings_dict["OPTIONS"]
    kept = {"options": options["options"]}
    options["options"] = ""
    return kept


@pytest.fixture(scope="session")
def django_db_setup(
    django_db_modify_db_settings: dict[str, Any], django_db_setup: None, django_db_blocker: Any
) -> Iterator[None]:
    """pytest-django's own test database, with the deadlines of the settings.

    At the end its sessions are ended, the pool of this process among them: PostgreSQL drops no database that anybody
    is connected to, and threads of the tests still hold connections.
    """
    with django_db_blocker.unblock():
        _forget_connections()
        connection.settings_dict["OPTIONS"] |= django_db_modify_db_settings
    yield
    with django_db_blocker.unblock():
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        connection.settings_dict["OPTIONS"]["options"] = ""
        _forget_connections()


def _forget_connections() -> None:
    connections.close_all()
    connection.close_pool()
