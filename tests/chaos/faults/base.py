"""What a fault is."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from tests.chaos.history import History
from tests.chaos.system import System
from tests.chaos.workload import Population

CALM_SECONDS = 60.0
CALM_RATE = 0.1  # deeds a second and device


@dataclass
class Scene:
    """What a fault happens to."""

    system: System
    population: Population
    history: History
    seed: int
    brief: bool = False  # once instead of several times
    quick: bool = False  # sizes of a run of a minute, instead of the catalogue's


class Fault:
    """One fault of one run: `inject`, wait `seconds`, `heal`; then everything must be well within 30 seconds."""

    id: ClassVar[str]
    name: ClassVar[str]
    expects: ClassVar[str]
    seconds: ClassVar[float] = 5.0
    after: ClassVar[float] = 2.0  # people go on for so long after it was healed
    isolated: ClassVar[bool] = False  # the control pair must not feel it
    breaks: ClassVar[tuple[str, ...]] = ()  # a control: these invariants must be violated, or the harness is blind
    may_break: ClassVar[tuple[str, ...]] = ()  # told of in the table, and no failure of the run
    keeps: ClassVar[tuple[str, ...]] = ()  # a control: these must be kept all the same
    services: ClassVar[bool] = False  # with the three services over gRPC
    spoils: ClassVar[bool] = False  # the system is not used again afterwards
    poisoned: ClassVar[int] = 0  # dead letters that it means to make
    # What is smaller with --quick. Without, everything has the size of the catalogue.
    quick: ClassVar[Mapping[str, float]] = MappingProxyType({})

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.system = scene.system
        self.population = scene.population
        self.random = random.Random(f"{scene.seed}-{self.id}")
        self.before = 0.0
        for name, value in self.quick.items() if scene.quick else ():
            setattr(self, name, value)

    def calm(self) -> None:
        """People go on slowly through a fault of minutes: a deed in ten seconds each."""
        if self.seconds > CALM_SECONDS:
            self.before, self.population.rate = self.population.rate, CALM_RATE

    def liven(self) -> None:
        """And as before, once it is over."""
        self.population.rate = self.before or self.population.rate

    def note(self, text: str) -> None:
        """Say something in the history, for whoever reads it."""
        self.scene.history.write("note", "ok", note=text)

    def audit(self, text: str, count: int) -> None:
        """Say how often something was broken: 0, or I23 is violated."""
        self.scene.history.write("audit", "ok", note=text, count=count)

    async def inject(self) -> None:
        """Make it go wrong. May take its time."""
        raise NotImplementedError

    async def heal(self) -> None:
        """Let go of it."""

    async def settled(self) -> None:
        """Look at what is to be looked at when all is well again."""

    async def remove(self) -> None:
        """Take away what it left on the machine, when everything was looked at."""
