"""What all tests share: a test database that is made and dropped without a hurry, and that nothing of ours holds
open."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import DEFAULT_DB_ALIAS, connection, connections
from django.test.utils import setup_databases, teardown_databases

from whispr.kernel import database
from whispr.kernel.breaker import breakers


@pytest.fixture(scope="session", autouse=True)
def connections_are_given_back() -> None:
    """Event loops come and go here, and the threads of their group commits with them, with what they would keep."""
    database.KEEPS = False


@pytest.fixture(autouse=True)
def circuits_are_closed() -> Iterator[None]:
    """What one test found away is nothing to the next."""
    yield
    for circuit in breakers().values():
        circuit.reset()


@pytest.fixture(scope="session")
def django_db_setup(
    django_test_environment: None,
    django_db_blocker: Any,
    django_db_keepdb: bool,
    django_db_createdb: bool,
    django_db_modify_db_settings: None,
) -> Iterator[None]:
    """The test database, for whoever asks: pytest-django's own makes none for tests that only start server processes.

    It is made and dropped without the deadlines of the settings: CREATE and DROP DATABASE wait for checkpoints of the
    whole server, a busy one's longer than any request may take. At the end its sessions are ended, the pool of this
    process among them: PostgreSQL drops no database that anybody is connected to, and threads of the tests still are.
    """
    options = connection.settings_dict["OPTIONS"]
    deadlines, options["options"] = options["options"], ""
    with django_db_blocker.unblock():
        made = setup_databases(
            verbosity=0,
            interactive=False,
            aliases={DEFAULT_DB_ALIAS},
            keepdb=django_db_keepdb and not django_db_createdb,
        )
        _forget_connections()
    options["options"] = deadlines
    yield
    with django_db_blocker.unblock():
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        _forget_connections()
        options["options"] = ""
        if not django_db_keepdb:
            teardown_databases(made, verbosity=0)


def _forget_connections() -> None:
    connections.close_all()
    connection.close_pool()  # type: ignore[attr-defined]  # PostgreSQL's own
