"""The servers that these tests share: two processes of each ASGI server in turn, for the whole session."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from django.core.management import call_command

from tests.live.server import Cluster, Scene

LIVE_ASGI = ["uvicorn", "daphne"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here is `e2e`."""
    for item in items:
        if "tests/live/" in item.path.as_posix():
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def live_database(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """The test database for server processes; emptied at the end, as transactional tests leave it."""
    yield
    with django_db_blocker.unblock():
        call_command("flush", verbosity=0, interactive=False)


@pytest.fixture(scope="session", params=LIVE_ASGI)
def cluster(request: pytest.FixtureRequest, live_database: None) -> Iterator[Cluster]:
    """Two processes on one database."""
    servers = Cluster(request.param, workers=2)
    try:
        servers.start()
        yield servers
    finally:
        servers.kill()


@pytest.fixture
async def scene(cluster: Cluster) -> AsyncIterator[Scene]:
    """A test's own people on the shared servers, which log no fault meanwhile."""
    cluster.faults()
    scene = Scene(cluster)
    yield scene
    await scene.close()
    assert cluster.faults() == ""
