"""Random scenarios on a real server, PostgreSQL and Valkey against the model (the reliability catalogue §1,
docs/protocol.md §8)."""

import asyncio
import os
import random
import sys
import time
from collections.abc import Coroutine, Iterator
from typing import Any, ClassVar

import psycopg
import pytest
from hypothesis import seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from tests.live.server import Cluster
from tests.model.bursts import Bursts
from tests.model.conftest import PROFILE
from tests.model.views import compare
from tests.model.world import DEVICES, THERE, USERS, Over

STEPS, STEPS_LEAST = 40, 30
EXAMPLES = 30
LOOK_AFTER = 14  # steps, at the least: a comparison takes as long as ten
users = st.integers(0, USERS - 1)
who = {"over": st.sampled_from(["socket", "rest"]), "user": users, "device": st.integers(0, DEVICES - 1)}
which = {"index": st.integers(0, 7)}  # of messages, from the newest: most are aimed at again while they are fresh
managers = st.sampled_from([0, 0, 0, 1, 2])


def operation(name: str, weight: int, **arguments: Any) -> list[st.SearchStrategy[tuple[str, dict[str, Any]]]]:
    """An operation of `World` as it is drawn: as often as its weight says."""
    fixed = {key: value if isinstance(value, st.SearchStrategy) else st.just(value) for key, value in arguments.items()}
    return [st.tuples(st.just(name), st.fixed_dictionaries(fixed))] * weight


# One rule for all of them, and not one each: hypothesis would leave about half of the rules out of each example, and
# what goes wrong between a removal, an edit and a return needs all three.
IN_TURN = (
    *operation("send", 3, **who, **which, kind=st.sampled_from(["plain", "metadata", "reply", "media"])),
    *operation("send", 2, **who, kind=st.sampled_from(["ttl", "read"]), index=0),
    *operation("resend", 1, over=who["over"], device=who["device"], **which),
    *operation("clash", 1, **who, **which),
    *operation("acknowledge", 3, **who, back=st.integers(0, 3), read=st.booleans(), again=st.booleans()),
    *operation("edit", 3, **who, **which, times=st.sampled_from([1, 1, 1, 2, 12])),
    *operation("react", 3, **who, **which, emoji=st.sampled_from("ab"), remove=st.booleans()),
    *operation("delete", 2, **who, **which, for_everyone=st.booleans()),
    *operation("expire", 2, **which, work=st.booleans()),
    *operation("add", 2, by=managers, user=st.sampled_from([1, 2])),
    *operation("remove", 2, by=managers, user=st.sampled_from([1, 2])),
    *operation("role", 1, by=managers, user=users, role=st.sampled_from(["owner", "admin", "member"])),
    *operation(
        "configure", 1, by=managers, setting=st.just("sharedHistory"), value=st.sampled_from([True, True, False])
    ),
    *operation("configure", 1, by=managers, setting=st.just("readReceipts"), value=st.sampled_from([False, None])),
    *operation("tell", 1, user=users, reads=st.booleans()),
    *operation("rekey", 1, user=users, device=who["device"]),
    *operation("revoke", 1, user=users),
    *operation("schedule", 1, user=users, device=who["device"]),
    *operation("fire", 1, **which, cancel=st.sampled_from([False, False, True])),
    *operation("disconnect", 1, user=users, device=who["device"]),
    *operation("reconnect", 2, user=users, device=who["device"], with_cursors=st.booleans()),
)
AT_ONCE = operation(
    "burst", 2, **which, removed=st.sampled_from([None, None, 1, 2]), edited=st.booleans(), deleted=st.booleans()
)


couple = st.integers(0, 1)
told = {"over": st.sampled_from(["socket", "rest"]), "user": couple, "device": st.integers(0, DEVICES - 1)}
BETWEEN_TWO = (
    *operation("send", 4, **told, **which, kind=st.sampled_from(["plain", "metadata", "reply", "media"])),
    *operation("send", 2, **told, kind=st.sampled_from(["ttl", "read"]), index=0),
    *operation("block", 4, by=couple, on=st.booleans()),
    *operation("configure", 2, by=couple, setting=st.just("color"), value=st.sampled_from(["red", "blue", None])),
    *operation("configure", 1, by=couple, setting=st.just("readReceipts"), value=st.sampled_from([False, None])),
    *operation("tell", 1, user=couple, reads=st.booleans()),
    *operation("resend", 1, over=who["over"], device=who["device"], **which),
    *operation("acknowledge", 3, **told, back=st.integers(0, 3), read=st.booleans(), again=st.booleans()),
    *operation("edit", 3, **told, **which, times=st.sampled_from([1, 1, 2])),
    *operation("react", 3, **told, **which, emoji=st.sampled_from("ab"), remove=st.booleans()),
    *operation("delete", 2, **told, **which, for_everyone=st.booleans()),
    *operation("expire", 2, **which, work=st.booleans()),
    *operation("schedule", 1, user=couple, device=who["device"]),
    *operation("fire", 1, **which, cancel=st.just(False)),
    *operation("disconnect", 1, user=couple, device=who["device"]),
    *operation("reconnect", 2, user=couple, device=who["device"], with_cursors=st.booleans()),
    *operation("burst", 1, **which, removed=st.none(), edited=st.booleans(), deleted=st.booleans()),
)


class Machine(RuleBasedStateMachine):
    """One example: a group, what is done in it, and the comparisons."""

    server: ClassVar[Cluster]
    database: ClassVar["psycopg.Connection[Any]"]
    loop: ClassVar[asyncio.AbstractEventLoop]
    counts: ClassVar[dict[str, int]]
    over: ClassVar[Over | None] = None
    direct: ClassVar[bool] = False
    operations: ClassVar[Any] = st.one_of(*IN_TURN, *AT_ONCE)

    def __init__(self) -> None:
        super().__init__()
        self.world = Bursts(self.server, self.database, self.over)
        self.begun = self.failed = False
        self.looked = 0

    def run(self, work: Coroutine[Any, Any, Any]) -> None:
        try:
            self.loop.run_until_complete(work)
        except BaseException:
            self.failed = True
            raise

    def do(self, name: str, **args: Any) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1
        self.run(self.world.do(name, args))

    @initialize(third=st.booleans(), sent=st.integers(1, 4))
    def begin(self, third: bool, sent: int) -> None:
        """The third user is there from the beginning, or not."""
        self.run(self.world.begin([0, 1, 2] if third and not self.direct else [0, 1], self.direct))
        self.begun = True
        for number in range(sent):
            kind = ("plain", "ttl", "metadata", "read")[number]
            self.do("send", over="socket", user=number % 2, device=0, kind=kind, index=0)

    @rule(data=st.data())
    def step(self, data: st.DataObject) -> None:
        """Whatever comes."""
        name, arguments = data.draw(self.operations)
        self.do(name, **arguments)

    @precondition(lambda self: len(self.world.steps) >= self.looked + LOOK_AFTER)
    @rule()
    def look(self) -> None:
        """At a random point."""
        self.looked = len(self.world.steps)
        self.counts["look"] = self.counts.get("look", 0) + 1
        self.run(compare(self.world))

    def finish(self) -> None:
        """Every device comes back, and holds what those hold that were there throughout."""
        for user, device in self.world.devices:
            if device < DEVICES and (user, device) not in THERE:
                self.do("reconnect", user=user, device=device, with_cursors=(user + device) % 2 == 0)
        self.run(compare(self.world))

    def teardown(self) -> None:
        try:
            if self.begun and not self.failed and sys.exc_info()[0] is None:
                self.finish()
                self.counts["examples"] = self.counts.get("examples", 0) + 1
                self.counts["steps"] = self.counts.get("steps", 0) + len(self.world.steps)
        finally:
            self.loop.run_until_complete(self.world.close())


class Couple(Machine):
    """A direct conversation, and the blocks between its two."""

    direct = True
    operations = st.one_of(*BETWEEN_TWO)


def bound(base: type[Machine], server: Cluster, database: "psycopg.Connection[Any]") -> Iterator[type[Machine]]:
    """A machine on the running server, which logs no fault meanwhile."""
    loop = asyncio.new_event_loop()
    server.faults()
    yield type("Bound", (base,), {"server": server, "database": database, "loop": loop, "counts": {}})
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    assert server.faults() == ""


@pytest.fixture
def machine(server: Cluster, model_database: "psycopg.Connection[Any]") -> Iterator[type[Machine]]:
    """The machine, over both transports."""
    yield from bound(Machine, server, model_database)


@pytest.fixture
def couple_machine(server: Cluster, model_database: "psycopg.Connection[Any]") -> Iterator[type[Machine]]:
    """The machine of two."""
    yield from bound(Couple, server, model_database)


def run_machine(machine: type[Machine], examples: int, steps: int) -> None:
    """Draw and run; the seed is printed where it is drawn."""
    profile = settings.get_profile(PROFILE)
    chosen = os.environ.get("WHISPR_TEST_MODEL_SEED")
    if chosen is not None or not profile.derandomize:
        number = random.randrange(2**32) if chosen is None else int(chosen)
        print(f"WHISPR_TEST_MODEL_SEED={number}")
        profile = settings(profile, derandomize=False)
        seed(number)(machine)
    began = time.monotonic()
    examples = int(os.environ.get("WHISPR_TEST_MODEL_EXAMPLES", examples))
    chosen_settings = settings(profile, max_examples=examples, stateful_step_count=steps)
    run_state_machine_as_test(machine, settings=chosen_settings, _min_steps=STEPS_LEAST)
    print(f"{machine.counts}, {time.monotonic() - began:.1f} s")


def test_every_device_ends_with_what_the_model_says(machine: type[Machine]) -> None:
    run_machine(machine, examples=EXAMPLES, steps=STEPS)
    assert machine.counts["examples"] >= EXAMPLES or "WHISPR_TEST_MODEL_EXAMPLES" in os.environ


def test_what_a_block_keeps_apart_stays_apart(couple_machine: type[Machine]) -> None:
    run_machine(couple_machine, examples=10, steps=STEPS)
