"""Fixtures of the tests that drive the whole system from outside."""

from collections.abc import Callable, Iterator

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
