"""The whole harness once, briefly: a system of its own, a crash of a server process, a crash of PostgreSQL."""

import asyncio
from pathlib import Path

from tests.chaos.runner import Outcome, run
from tests.chaos.system import System


async def live(place: Path) -> list[Outcome]:
    system = System(seed=1)
    try:
        await system.start()
        return [await run(system, name, 1, place, brief=True) for name in ("F1", "F8")]
    finally:
        await system.stop()


def test_a_crash_of_a_process_and_one_of_postgresql(tmp_path: Path):
    outcomes = asyncio.run(live(tmp_path))
    for outcome in outcomes:
        assert outcome.is_good, (outcome.line(), [v.offences for v in outcome.verdicts if v.state == "violated"])
        judged = {verdict.id for verdict in outcome.verdicts if verdict.state != "not judged"}
        assert {"I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8", "I9", "I10", "I11", "I21", "I22", "I23"} <= judged
