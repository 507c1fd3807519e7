"""Fixtures of the tests that drive the whole system from outside."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection

from tests.e2e.server import Server


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here is `e2e`."""
    for item in items:
        if "tests/e2e/" in item.path.as_posix():
            item.add_marker(pytest.mark.e2e)


@pytest.fixture
def start(transactional_db: None) -> Iterator[Callable[..., Server]]:
    """Start servers: `start(asgi="uvicorn", workers=1, env={})`. They are stopped before the database is emptied."""
    with ExitStack() as servers:

        def start_server(*args: object, **kwargs: object) -> Server:
            return servers.enter_context(Server(*args, **kwargs))  # type: ignore[arg-type]

        yield start_server


@pytest.fixture(scope="module")
def shared_database(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """The database for all tests of a module, emptied after the last.

    What a test leaves is there for the next one: each has people of its own.
    """
    with django_db_blocker.unblock():
        yield
        call_command("flush", verbosity=0, interactive=False, inhibit_post_migrate=True)
        connection.close()


@pytest.fixture(scope="module")
def server(shared_database: None) -> Iterator[Server]:
    """One server for all tests of a module, with a hash chain."""
    with Server(env={"WHISPR_HASH_CHAIN": "1"}) as server:
        yield server


@pytest.fixture(scope="module")
def shared_browser(shared_database: None) -> Iterator[Any]:
    """Chromium, for all tests of a module."""
    with _chromium() as browser:
        yield browser


@pytest.fixture
def devices(shared_browser: Any, server: Server) -> Iterator[Any]:
    """Devices on the module's server; each starts with nothing in its storage."""
    from tests.e2e.browser import Devices

    devices = Devices(shared_browser, server)
    yield devices
    devices.close()


@contextmanager
def _chromium() -> Iterator[Any]:
    from tests.e2e.browser import CHROMIUM, FLAGS, sync_api

    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM}: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield browser
        browser.close()
