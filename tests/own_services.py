"""Real servers of the three services in this process, over real sockets.

A module of tests imports the fixtures that it uses.
"""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from integrations.development.servers import NAMES, SETTINGS, DevelopmentService


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
