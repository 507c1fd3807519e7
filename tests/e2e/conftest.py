"""Fixtures of the tests that drive the whole system from outside."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.e2e.server import Server


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here is `e2e`."""
    for item in items:
        if "tests/e2e/" in item.path.as_posix():
            item.add_marker(pytest.mark.e2e)


@pytest.fixture
def start(transactional_db: None) -> Iterator[Callable[..., Server]]:
    """Start servers: `start(asgi="uvicorn", workers=1, env={})`. They are stopped before the database is emptied."""
    servers: list[Server] = []

    def start_server(*args: object, **kwargs: object) -> Server:
        server = Server(*args, **kwargs)  # type: ignore[arg-type]
        servers.append(server)
        server.start()
        return server

    yield start_server
    for server in servers:
        server.kill()


@pytest.fixture
def browser(start: Callable[..., Server]) -> Iterator[Any]:
    """Chromium, for one test: while Playwright's loop runs in this thread, Django refuses to empty the database."""
    from tests.e2e.browser import CHROMIUM, FLAGS, sync_api

    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM}: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield browser
        browser.close()
