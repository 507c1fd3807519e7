"""Workers that die in the middle of a task, are killed, or are two too many."""

import asyncio
import time
from types import MappingProxyType

from celery import Celery

from tests.chaos.faults.base import Fault
from tests.chaos.history import hash_of
from whispr.embedded import processes

BEAT_SENT = "Sending due task"  # the beat's own words: it is there
BEAT_START_SECONDS = 60.0


class KilledInTask(Fault):
    """F24."""

    id = "F24"
    name = "the worker is killed in the middle of a task"
    expects = "the rows are the truth: another run does the work, once, within 30 s"
    seconds = 30.0

    async def inject(self) -> None:
        worker = self.system.workers[0]
        # The first leaves a claim that nobody settles; another one besides.
        others = ("scheduled.after_effect", "expiry.after_claim", "expiry.before_commit")
        for place in ("scheduled.after_claim", self.random.choice(others)):
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
    name = "two beats and two workers; then no beat at all for 10 minutes"
    expects = "everything once; what expires is not read meanwhile; late work is done when one is back"
    seconds = 600.0
    quick = MappingProxyType({"seconds": 5.0})

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
        self.calm()

    async def heal(self) -> None:
        self.liven()
        for beat in self.system.beats:
            sent = self.system.log_of(beat.name).count(BEAT_SENT)
            await beat.start()
            async with asyncio.timeout(BEAT_START_SECONDS):
                while self.system.log_of(beat.name).count(BEAT_SENT) <= sent:
                    await asyncio.sleep(0.2)


class Poison(Fault):
    """F28."""

    id = "F28"
    name = "rows and tasks that no worker can read, among others"
    expects = "rows become dead letters, tasks are dropped; the others flow"
    seconds = 8.0
    poisoned = 2

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
        # A row of the push outbox that says no place for its conversation.
        await self.system.sql(
            "INSERT INTO push_outbox (conversation_ids, from_seqs) VALUES (ARRAY[%s::uuid], ARRAY[]::bigint[])", talk.id
        )
        await asyncio.to_thread(self._poison_queues)
        self.worker = self.system.workers[0].child

    def _poison_queues(self) -> None:
        """Tasks that nobody knows, tasks with arguments of nobody's, and a body that is no JSON."""
        app = Celery(broker=self.system.redis_url)
        app.conf.broker_transport_options = {"global_keyprefix": "whispr-celery-"}
        queues = ("push", "expiry", "scheduled", "recovery", "maintenance")
        for queue in queues:
            app.send_task("no.such.task", queue=queue)
            app.send_task("delivery.tasks.send_pushes", args=["nobody asked for this"], queue=queue)
        with app.connection_for_write() as connection:
            producer = connection.Producer(serializer="json")
            for queue in queues:
                producer.publish(b'{"no', routing_key=queue, content_type="application/json", content_encoding="utf-8")

    async def settled(self) -> None:
        rows = await self.system.sql("SELECT kind FROM dead_letters WHERE state = 'waiting'")
        kinds = {row[0] for row in rows}
        self.audit(f"poisoned rows without a dead letter, {kinds}", len({"scheduled", "push_outbox"} - kinds))
        self.audit("workers that a poisoned task ended", int(self.system.workers[0].child is not self.worker))


class FarAhead(Fault):
    """F27."""

    id = "F27"
    name = "messages are scheduled two hours ahead, the workers die, and their time comes"
    expects = "no task waits in the broker: due rows are found in the table, once"
    seconds = 3.0
    count = 8

    async def inject(self) -> None:
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 7_200))
        planned = []
        for number in range(self.count):
            talk = self.population.talks[number % 2]
            author = talk.people[number % 3].devices[0]
            sent = self.population.message(talk, self.random)
            status, made = await author.rest("POST", "messages/scheduled", sent.payload() | {"scheduledFor": when})
            if status != 201:
                raise RuntimeError(f"a message could not be scheduled: {status} {made}")
            planned.append((author, talk, sent))
        await asyncio.sleep(1.0)
        waiting = 0
        for key in await self.system.redis("KEYS", "*celery*unacked"):
            tasks = await self.system.redis("HVALS", key)
            waiting += sum(b'\\"eta\\": null' not in task and b'"eta": null' not in task for task in tasks)
        self.scene.history.write("audit", "ok", note="tasks that wait in the broker for a time", count=waiting)
        for process in (*self.system.workers, *self.system.beats):
            process.kill()
        due = round(time.time() + 3, 3)
        for author, talk, sent in planned:
            # In the history it is scheduled for when its time comes now.
            began = asyncio.get_running_loop().time()
            fields = {"client_random": sent.client_random, "hash": hash_of(sent.content), "due": due}
            line = author.begin("schedule", conversation=talk.id, **fields)
            await self.system.sql(
                "UPDATE scheduled_messages SET scheduled_for = to_timestamp(%s) WHERE client_random = %s",
                due,
                sent.client_random,
            )
            author.end_of(line, "ok", began)


FAULTS: tuple[type[Fault], ...] = (KilledInTask, WorkerKilled, TwoBeats, FarAhead, Poison)
