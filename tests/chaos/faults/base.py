"""What a fault is."""

import random
from dataclasses import dataclass
from typing import ClassVar

from tests.chaos.history import History
from tests.chaos.system import System
from tests.chaos.workload import Population


@dataclass
class Scene:
    """What a fault happens to."""

    system: System
    population: Population
    history: History
    seed: int
    brief: bool = False  # once instead of several times


class Fault:
    """One fault of one run: `inject`, wait `seconds`, `heal`; then everything must be well within 30 seconds."""

    id: ClassVar[str]
    name: ClassVar[str]
    expects: ClassVar[str]
    seconds: ClassVar[float] = 5.0
    after: ClassVar[float] = 2.0  # people go on for so long after it was healed
    isolated: ClassVar[bool] = False  # the control pair must not feel it
    breaks: ClassVar[tuple[str, ...]] = ()  # a control: these invariants must be violated, or the harness is blind
    keeps: ClassVar[tuple[str, ...]] = ()  # a control: these must be kept all the same
    services: ClassVar[bool] = False  # with the three services over gRPC
    spoils: ClassVar[bool] = False  # the system is not used again afterwards
    poisoned: ClassVar[int] = 0  # dead letters that it means to make

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.system = scene.system
        self.population = scene.population
        self.random = random.Random(f"{scene.seed}-{self.id}")

    async def inject(self) -> None:
        """Make it go wrong. May take its time."""
        raise NotImplementedError

    async def heal(self) -> None:
        """Let go of it."""

    async def remove(self) -> None:
        """Take away what it left on the machine, when everything was looked at."""
