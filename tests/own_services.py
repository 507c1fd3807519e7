"""Real servers of the three services in this process, over real sockets, and circuits that begin closed.

A module of tests imports the fixtures that it uses.
"""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from integrations.development.servers import NAMES, SETTINGS, DevelopmentService
from whispr.kernel.breaker import breakers


@pytest.fixture(autouse=True)
def circuits() -> Iterator[None]:
    for circuit in breakers().values():
        circuit.reset()
    yield
    for circuit in breakers().values():
        circuit.reset()


@pytest.fixture
async def services(settings: Any) -> AsyncIterator[dict[str, DevelopmentService]]:
    """All three, which the settings name."""
    found = {name: DevelopmentService(name) for name in NAMES}
    for name, service in found.items():
        await service.start()
        setattr(settings, SETTINGS[name], service.address)
    yield found
    for service in found.values():
        await service.stop()
