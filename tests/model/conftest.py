"""The server and the settings of the model's tests."""

import os
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.test import override_settings
from hypothesis import HealthCheck, Phase, settings

from tests.e2e.server import database_url
from tests.live.server import Cluster
from tests.model.world import WINDOW
from whispr.kernel import task_loop

# An example is a second of a real server's work: none is too slow, and a failed one is not shrunk where nobody waits.
_common: dict[str, Any] = {
    "deadline": None,
    "database": None,
    "print_blob": True,
    "suppress_health_check": list(HealthCheck),
}
settings.register_profile(
    "model-ci", derandomize=True, phases=[Phase.explicit, Phase.generate], max_examples=50, **_common
)
settings.register_profile("model-explore", max_examples=200, **_common)
# WHISPR_TEST_MODEL=explore draws anew each time, prints its seed and makes a failing example small;
# WHISPR_TEST_MODEL_SEED=<seed> does one again, WHISPR_TEST_MODEL_EXAMPLES sets how many.
PROFILE = f"model-{os.environ.get('WHISPR_TEST_MODEL', 'ci')}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here is `e2e`."""
    for item in items:
        if "tests/model/" in item.path.as_posix():
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="module")
def model_database(django_db_setup: None, django_db_blocker: Any) -> Iterator["psycopg.Connection[Any]"]:
    """The test database: open to the worker's tasks in this process, and a session of our own; emptied at the end."""
    with django_db_blocker.unblock(), override_settings(WHISPR_SIGNATURES="optional", WHISPR_HASH_CHAIN=True):
        with psycopg.connect(database_url(), autocommit=True) as session:
            yield session
        task_loop.close()
        try:
            # Whatever was done, the tables agree with each other and with the logs.
            call_command("reconcile")
        finally:
            call_command("flush", verbosity=0, interactive=False)


@pytest.fixture(scope="module")
def server(model_database: "psycopg.Connection[Any]") -> Iterator[Cluster]:
    """Two processes, with a window that is soon full, and the hash chain."""
    with Cluster("uvicorn", workers=2, env={"WHISPR_HASH_CHAIN": "1", "WHISPR_WINDOW_ENTRIES": str(WINDOW)}) as servers:
        yield servers
