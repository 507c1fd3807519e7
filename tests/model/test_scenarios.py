"""What the machine found once, as short scenarios of their own."""

from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest

from tests.live.server import Cluster
from tests.model.bursts import Bursts
from tests.model.views import compare


@pytest.fixture
async def world(server: Cluster, model_database: "psycopg.Connection[Any]") -> AsyncIterator[Bursts]:
    """A group of three."""
    world = Bursts(server, model_database)
    await world.begin([0, 1, 2])
    yield world
    await world.close()


async def test_who_was_removed_sees_no_edit_and_no_reaction_of_later(world: Bursts) -> None:
    await world.send("socket", 0, 0, "plain", 0)
    await world.edit("socket", 0, 0, 0, 1)
    await world.react("socket", 1, 0, 0, "a", False)
    await world.remove(0, 2)
    await world.edit("socket", 0, 0, 0, 2)
    await world.react("socket", 1, 0, 0, "b", False)
    await world.react("rest", 0, 0, 0, "a", False)
    await compare(world)
    await world.add(0, 2)
    await compare(world)  # what came meanwhile stays unseen
    await world.edit("socket", 0, 0, 0, 1)
    await world.react("rest", 2, 0, 0, "b", False)
    await compare(world)


async def test_who_was_removed_is_told_of_no_receipt_of_later(world: Bursts) -> None:
    await world.send("socket", 1, 0, "plain", 0)
    await world.acknowledge("socket", 0, 0, 0, False)
    await world.remove(0, 1)
    await world.acknowledge("socket", 0, 0, 0, True)
    await world.acknowledge("rest", 2, 0, 0, True)
    await compare(world)
    await world.add(0, 1)
    await compare(world)


@pytest.mark.parametrize("deleted", [False, True])
async def test_much_at_once_with_a_removal(world: Bursts, deleted: bool) -> None:
    await world.send("rest", 1, 0, "plain", 0)
    for user in (1, 2, 1):
        await world.burst(0, user, True, deleted)
        await compare(world)
        await world.add(0, user)
    await compare(world)
