"""The servers that these tests share: two processes of each ASGI server in turn, for the whole session."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from django.core.management import call_command

from tests.live.server import Cluster, Scene
from tests.own_redis import OwnRedis

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
def cluster(
    request: pytest.FixtureRequest, live_database: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """Two processes on one database, with a directory of media of their own, which keep every message's steps."""
    directory = tmp_path_factory.mktemp("media")
    environment = {"WHISPR_TRACE": "all", "WHISPR_MEDIA_DIR": str(directory), "WHISPR_MEDIA_BYTES": "6000000"}
    with Cluster(request.param, workers=2, env=environment) as servers:
        yield servers


@pytest.fixture
async def scene(cluster: Cluster) -> AsyncIterator[Scene]:
    """A test's own people on the shared servers, which log no fault meanwhile."""
    cluster.faults()
    scene = Scene(cluster)
    yield scene
    await scene.close()
    assert cluster.faults() == ""


@pytest.fixture(scope="session")
def own_redis() -> Iterator[OwnRedis]:
    """A Valkey to freeze and to kill; whoever does so brings it back."""
    with OwnRedis() as redis:
        yield redis


@pytest.fixture(scope="session", params=LIVE_ASGI)
def mortal(request: pytest.FixtureRequest, live_database: None, own_redis: OwnRedis) -> Iterator[Cluster]:
    """Two processes whose doorbell is `own_redis`, and which look for news and for revoked devices often."""
    environment = {
        "REDIS_URL": own_redis.url,
        "WHISPR_HEAD_CHECK_SECONDS": "1",
        "WHISPR_DEVICE_CHECK_SECONDS": "2",
    }
    with Cluster(request.param, workers=2, env=environment) as servers:
        yield servers


@pytest.fixture
async def stage(mortal: Cluster) -> AsyncIterator[Scene]:
    """A test's own people on servers that break."""
    scene = Scene(mortal)
    mortal.faults()
    yield scene
    await scene.close()
    print(mortal.faults())  # for whoever reads a failure: an outage of Redis is logged with tracebacks
