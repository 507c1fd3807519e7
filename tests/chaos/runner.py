"""One run: people live, something goes wrong and is healed, everything is looked at, the checker judges."""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

import psycopg

from tests.chaos.audit import audit, dead_letters
from tests.chaos.checker import Verdict, check
from tests.chaos.faults import FAULTS, Fault, Scene
from tests.chaos.history import History
from tests.chaos.system import System
from tests.chaos.workload import Population

WARM_SECONDS = 2.0
RECOVERY_SECONDS = 30.0
LAG_SECONDS = 0.1
WAIT_SECONDS = 45.0  # we look a little longer, to say how long it took


@dataclass
class Outcome:
    """What came of one fault and seed."""

    fault: type[Fault]
    seed: int
    verdicts: list[Verdict]
    operations: int
    seconds: float
    history: Path
    trouble: str = ""  # the run itself failed

    @property
    def violated(self) -> list[str]:
        """The invariants that were broken."""
        return [verdict.id for verdict in self.verdicts if verdict.state == "violated"]

    @property
    def is_good(self) -> bool:
        """Whether it ended as the fault says: mostly without a violation, a control with the one that it is for."""
        if self.trouble:
            return False
        if self.fault.breaks:
            violated = set(self.violated)
            return set(self.fault.breaks) <= violated and violated.isdisjoint(self.fault.keeps)
        return set(self.violated) <= set(self.fault.may_break)

    def line(self) -> str:
        """For the report."""
        verdict = "ok" if self.is_good else "FAILED"
        said = self.trouble or ("violated " + " ".join(self.violated) if self.violated else "nothing violated")
        return (
            f"{self.fault.id:4} seed {self.seed}: {verdict}, {said}, {self.operations} operations, {self.seconds:.0f} s"
        )


async def run(
    system: System,
    name: str,
    seed: int,
    place: Path,
    *,
    rate: float = 2.0,
    brief: bool = False,
    quick: bool = False,
) -> Outcome:
    """Run one fault on a system that works, and judge it."""
    fault_class = FAULTS[name]
    path = place / f"{name}-{seed}.jsonl"
    path.unlink(missing_ok=True)
    history = History(path)
    began = time.monotonic()
    population = Population(system, history, f"{seed}-{name}", rate)
    trouble = ""
    watching = asyncio.create_task(_watch_lag(history))
    try:
        await _live(Scene(system, population, history, seed, brief, quick), fault_class)
    except (OSError, RuntimeError, TimeoutError, psycopg.Error) as error:
        trouble = f"{type(error).__name__}: {error}"
        history.write("note", "info", note=trouble)
    finally:
        watching.cancel()
        await population.end()
        history.close()
    verdicts = await asyncio.to_thread(check, history.ops)
    return Outcome(fault_class, seed, verdicts, len(history.ops), time.monotonic() - began, path, trouble)


async def _live(scene: Scene, fault_class: type[Fault]) -> None:
    system, population, history = scene.system, scene.population, scene.history
    await system.until_ready()
    dead = sum(int(row[3]) for row in await dead_letters(system))
    await population.settle_in()
    population.begin()
    await asyncio.sleep(WARM_SECONDS)
    fault = fault_class(scene)
    number = history.next_id()
    history.write("fault", "invoke", id=number, code=fault.id, note=fault.name, isolated=fault.isolated)
    try:
        await _break_and_heal(fault, scene, number)
        healed = time.monotonic()
        await asyncio.sleep(fault.after)
        await population.quiet()
        await system.until_ready()
        await _converge(population, history, healed)
        await fault.settled()
        await population.look_at_everything()
        await _converge(population, history, time.monotonic())
        await audit(system, history, poisoned=dead + fault.poisoned)
        history.write("end", "ok")
    finally:
        await fault.remove()


async def _watch_lag(history: History) -> None:
    """Note when we ourselves were late: clients and links are this one process."""
    while True:
        began = time.monotonic()
        await asyncio.sleep(LAG_SECONDS)
        late = time.monotonic() - began - LAG_SECONDS
        if late > LAG_SECONDS:
            history.write("lag", "info", seconds=late)


async def _break_and_heal(fault: Fault, scene: Scene, number: int) -> None:
    try:
        await fault.inject()
        await asyncio.sleep(fault.seconds)
    finally:
        await fault.heal()
        scene.history.write("heal", "ok", id=number, code=fault.id)
        scene.history.write("fault", "ok", id=number, code=fault.id)


async def _converge(population: Population, history: History, since: float) -> None:
    """Wait until all is well, and note how long that took."""
    lacking = ["everything"]
    while lacking and time.monotonic() - since < WAIT_SECONDS:
        await asyncio.sleep(0.25)
        try:
            lacking = await population.lacking()
        except psycopg.Error as error:
            lacking = [f"the database: {error}"]
    seconds = time.monotonic() - since
    note = "; ".join(lacking[:6])
    history.write("converged", "fail" if lacking else "ok", seconds=seconds, note=note or None)
