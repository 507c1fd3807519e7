"""Two versions of the program at once, over one database."""

import asyncio
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.chaos.faults.base import Fault
from tests.chaos.mutants import Change, Mutant, apply, copied
from tests.chaos.process import Process, in_spawner
from tests.chaos.system import answers
from whispr.embedded import processes
from whispr.embedded.process import spawn

# What a later version might say that this one does not know: kinds of news, events, fields, a task, tables, columns.
LATER = Mutant(
    "later-version",
    "a version to come, which says more than this one knows",
    (),
    (),
    (
        Change(
            "messaging/fanout/news.py",
            "    return [_pack_one(one) for one in news]\n",
            '    return [["later", b"of a version to come", 7], *[_pack_one(one) for one in news]]\n',
        ),
        Change(
            "messaging/fanout/news.py",
            "entry.type, msgspec.json.encode(entry), withheld_by)",
            'entry.type, msgspec.json.encode(entry)[:-1] + b\',"laterField":{"a":[1]}}\', withheld_by)',
        ),
        Change(
            "messaging/fanout/__init__.py",
            "    _publish(encoded)\n",
            "    _publish(encoded)\n"
            "    for entry in entries:\n"
            "        _publish([UserChange(entry.sender_id, 'later_kind', b'{\"later\":true}')])\n"
            "        publish_user_push(entry.sender_id, 'later_event', b'{}', conversation_id=entry.conversation_id)\n",
        ),
        Change(
            "messaging/tasks.py",
            "T = TypeVar(",
            '@shared_task(name="messaging.tasks.later")\ndef later() -> None:\n    """Nothing."""\n\n\nT = TypeVar(',
        ),
    ),
)
_MIGRATION = """
from django.db import migrations


def schedule_create(apps, schema_editor):
    interval = apps.get_model("django_celery_beat", "IntervalSchedule").objects.create(every=1, period="seconds")
    periodic = apps.get_model("django_celery_beat", "PeriodicTask")
    periodic.objects.create(name="later", task="messaging.tasks.later", interval=interval)


class Migration(migrations.Migration):
    dependencies = [("messaging", "{last}"), ("django_celery_beat", "0019_alter_periodictasks_options")]
    operations = [
        migrations.RunSQL(
            "ALTER TABLE messages ADD COLUMN later jsonb;"
            "ALTER TABLE members ADD COLUMN later bigint NOT NULL DEFAULT 0;"
            "ALTER TABLE send_keys ADD COLUMN later text;"
            "ALTER TABLE devices ADD COLUMN later text NOT NULL DEFAULT '';"
            "CREATE TABLE later_things (id bigserial PRIMARY KEY)"
        ),
        migrations.RunPython(schedule_create),
    ]
"""


@contextlib.contextmanager
def later_version() -> Iterator[Path]:
    """A copy of the program as a later version might be, which goes with the block."""
    with copied() as tree:
        apply(LATER, tree)
        migrations = tree / "messaging" / "migrations"
        last = max(path.stem for path in migrations.glob("[0-9]*.py"))
        (migrations / "9001_later.py").write_text(_MIGRATION.replace("{last}", last))
        yield tree


class TwoVersions(Fault):
    """F44."""

    id = "F44"
    name = "a later version is rolled out beside this one, rolled back, and rolled out again"
    expects = "what is not known is left alone, and the migration breaks nothing that runs"
    seconds = 2.0
    spoils = True

    async def inject(self) -> None:
        self.stack = contextlib.ExitStack()
        self.later = self.stack.enter_context(later_version())
        self.now = self.system.tree
        first, second = self.system.webs[:2]
        await self._migrate()
        await asyncio.sleep(1.5)  # this version on the later one's tables
        worker = self.system.add_process("worker-2", processes.worker(beat=False))
        self._set(worker, self.later)
        self.system.workers.append(worker)
        await asyncio.gather(worker.start(), self._become(second, self.later))
        await asyncio.sleep(2.5)
        # The beat asks for a task then that the worker of this version does not know.
        later = [first, *self.system.beats]
        await asyncio.gather(*(self._become(process, self.later) for process in later))
        await self._become(second, self.now)
        await asyncio.sleep(2.5)

    async def heal(self) -> None:
        for web in self.system.webs:
            if web.cwd != self.later:
                await self._become(web, self.later)
        worker = self.system.workers.pop(0)
        await worker.terminate(5)

    async def remove(self) -> None:
        self.stack.close()

    def _set(self, process: Process, tree: Path) -> None:
        process.cwd = tree
        process.environment["PYTHONPATH"] = str(tree)

    async def _become(self, process: Process, tree: Path) -> None:
        """Another version, as a rolling restart brings it."""
        took = await process.terminate(10.0 if process in self.system.webs else 2.0)
        self._set(process, tree)
        await process.start()
        which = "the later version" if tree == self.later else "this version"
        self.scene.history.write("note", "ok", note=f"{process.name} ended in {took:.1f} s and becomes {which}")
        if process in self.system.webs:
            port = self.system.link(f"client-{self.system.webs.index(process)}").target[1]
            async with asyncio.timeout(30):
                while not await asyncio.to_thread(answers, port):
                    await asyncio.sleep(0.1)

    async def _migrate(self) -> None:
        environment = self.system.environment("later", "work") | {"PYTHONPATH": str(self.later)}
        command = [sys.executable, "manage.py", "migrate", "--noinput"]
        log = self.system.logs / "migrate-later.log"
        child = await in_spawner(spawn, "migrate", command, environment=environment, log=log, cwd=self.later)
        while child.is_running:
            await asyncio.sleep(0.1)
        if child.process.returncode:
            raise RuntimeError(f"the later version's migration failed:\n{child.last_words()}")


FAULTS: tuple[type[Fault], ...] = (TwoVersions,)
