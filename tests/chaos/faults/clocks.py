"""Clocks that are wrong."""

import asyncio

from tests.chaos.faults.base import Fault

# Loaded by Python itself at its start, from a directory of the path; moves every clock that Python code can read.
_SITE = """
import os
import time_machine, datetime
_offset = float(os.environ["WHISPR_TEST_CLOCK_OFFSET"])
_now = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=_offset)
time_machine.travel(_now, tick=True).start()
"""


class WrongClock(Fault):
    """F34."""

    id = "F34"
    name = "one server process's clock is an hour ahead, an hour behind, and 61 s ahead, 6 s each"
    expects = "order and expiry go by the database's clock"
    seconds = 0.5
    offsets = (3_600, -3_600, 61)
    each = 6.0

    async def inject(self) -> None:
        self.web = self.system.webs[1]
        self.before_all = dict(self.web.environment)
        place = self.system.data / "clock"
        place.mkdir(exist_ok=True)
        (place / "sitecustomize.py").write_text(_SITE)
        offsets = self.random.sample(self.offsets, len(self.offsets))
        for offset in offsets[: 1 if self.scene.quick else None]:
            self.web.environment["WHISPR_TEST_CLOCK_OFFSET"] = str(offset)
            self.web.environment["PYTHONPATH"] = f"{place}:{self.before_all['PYTHONPATH']}"
            self.note(f"the clock of {self.web.name} is {offset:+d} s")
            await self.web.terminate()
            await self.web.start()
            await self.system.until_ready()
            await asyncio.sleep(self.each)

    async def heal(self) -> None:
        self.web.environment = self.before_all
        await self.web.terminate()
        await self.web.start()


FAULTS: tuple[type[Fault], ...] = (WrongClock,)
