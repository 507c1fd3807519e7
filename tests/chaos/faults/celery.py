"""Workers that die in the middle of a task, are killed, or are two too many."""

import asyncio
import time

from tests.chaos.faults.base import Fault
from whispr.embedded import processes


class KilledInTask(Fault):
    """F24."""

    id = "F24"
    name = "the worker is killed in the middle of a task"
    expects = "the rows are the truth: another run does the work, once"
    seconds = 1.0

    async def inject(self) -> None:
        worker = self.system.workers[0]
        places = ["scheduled.after_claim", "scheduled.after_effect", "expiry.after_claim", "expiry.before_commit"]
        for place in self.random.sample(places, 2):
            deaths = len(worker.ended)
            worker.arm(f"{place}:kill")
            for _ in range(300):
                await asyncio.sleep(0.05)
                if len(worker.ended) > deaths:
                    break
            worker.arm("")

    async def heal(self) -> None:
        self.system.workers[0].arm("")


class WorkerKilled(Fault):
    """F25."""

    id = "F25"
    name = "every worker is killed, three times"
    expects = "what was due is done within 30 s"
    seconds = 1.0

    async def inject(self) -> None:
        for _ in range(3):
            for worker in self.system.workers:
                worker.kill()
            await asyncio.sleep(self.random.uniform(2, 4))


class TwoBeats(Fault):
    """F26."""

    id = "F26"
    name = "two beats and two workers; then no beat at all"
    expects = "everything once; late work is done when one is back"
    seconds = 5.0

    async def inject(self) -> None:
        extra = [
            self.system.add_process("beat-2", processes.beat()),
            self.system.add_process("worker-2", processes.worker(beat=False)),
        ]
        for process in extra:
            await process.start()
        await asyncio.sleep(9)
        for process in extra:
            await process.terminate(5)
        for beat in self.system.beats:
            beat.kill(stay=True)

    async def heal(self) -> None:
        for beat in self.system.beats:
            await beat.start()


class Poison(Fault):
    """F28."""

    id = "F28"
    name = "a row that no worker can read is due, among others"
    expects = "it becomes a dead letter; the others flow"
    seconds = 8.0
    poisoned = 1

    async def inject(self) -> None:
        talk = self.population.talks[0]
        author = talk.people[0].devices[0]
        planned = self.population.message(talk, self.random)
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3))
        body = planned.payload() | {"scheduledFor": when}
        status, made = await author.rest("POST", "messages/scheduled", body)
        if status != 201:
            raise RuntimeError(f"a message could not be scheduled: {status} {made}")
        # Not in the history as something that has to fire.
        await self.system.sql(
            "UPDATE scheduled_messages SET request = 'nothing that anybody can read' WHERE client_random = %s",
            planned.client_random,
        )


FAULTS: tuple[type[Fault], ...] = (KilledInTask, WorkerKilled, TwoBeats, Poison)
