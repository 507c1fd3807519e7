"""The unmodified phoenix package from npm against real servers (docs/protocol.md §2; sdk/packages/protocol-tests)."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.node import SDK
from tests.e2e.server import Server
from tests.e2e.vitest import run_package

PACKAGE = SDK / "packages" / "protocol-tests"
# The whole run takes about half a minute; four restarts on a busy machine may take longer.
RUN_SECONDS = 420


@pytest.mark.node
@pytest.mark.parametrize("asgi", ["uvicorn", "daphne"])
def test_the_phoenix_client(start: Callable[..., Server], asgi: str, tmp_path: Path) -> None:
    run_package(PACKAGE, start(asgi=asgi), tmp_path / "report.json", RUN_SECONDS)
