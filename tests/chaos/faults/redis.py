"""Valkey gone, empty, full, hung; its listeners cut off."""

import asyncio
import contextlib
import shutil
import signal
from types import MappingProxyType

import redis

from tests.chaos.faults.base import Fault
from tests.chaos.proxy import Shape


class KilledAndEmpty(Fault):
    """F18."""

    id = "F18"
    name = "Valkey is killed and comes back empty"
    expects = "sends are acknowledged all the same; live traffic heals by the head check"
    seconds = 1.0

    async def inject(self) -> None:
        await self.system.kill_valkey()
        await asyncio.sleep(self.random.uniform(1, 4))
        shutil.rmtree(self.system.valkey.directory, ignore_errors=True)
        await self.system.start_valkey()


class Full(Fault):
    """F20."""

    id = "F20"
    name = "Valkey is out of memory, and then evicts at random"
    expects = "sends and deduplication unaffected"
    seconds = 3.0

    async def inject(self) -> None:
        await self.system.redis("CONFIG", "SET", "maxmemory", "1200kb")
        await asyncio.sleep(3)
        await self.system.redis("CONFIG", "SET", "maxmemory-policy", "allkeys-random")

    async def heal(self) -> None:
        await self.system.redis("CONFIG", "SET", "maxmemory", "512mb")
        await self.system.redis("CONFIG", "SET", "maxmemory-policy", "noeviction")


class Hung(Fault):
    """F21."""

    id = "F21"
    name = "Valkey is stopped for 20 s, and then made to let everybody wait for 20 s"
    expects = "nobody waits for it on the way of an acknowledgement"
    seconds = 20.0
    quick = MappingProxyType({"seconds": 6.0})

    async def inject(self) -> None:
        self.system.signal_valkey(signal.SIGSTOP)
        await asyncio.sleep(self.seconds)
        self.system.signal_valkey(signal.SIGCONT)
        await asyncio.sleep(1)
        await self.system.redis("CLIENT", "PAUSE", str(int(self.seconds * 1000)))

    async def heal(self) -> None:
        self.system.signal_valkey(signal.SIGCONT)


class ListenersCut(Fault):
    """F22."""

    id = "F22"
    name = "the listeners' connections are killed again and again"
    expects = "a gap is found by seq or by the head check"
    seconds = 0.0
    after = 0.0  # what was lost last is followed by nothing that would show the gap

    async def inject(self) -> None:
        for _ in range(20):
            with contextlib.suppress(redis.RedisError):
                await self.system.redis("CLIENT", "KILL", "TYPE", "pubsub")
            await asyncio.sleep(self.random.uniform(0.1, 0.4))


class LastWordsLost(Fault):
    """F19."""

    id = "F19"
    name = "what the processes tell each other is lost, and then nobody writes any more"
    expects = "the head check finds it, without anything that would show the gap"
    seconds = 0.0
    after = 0.0

    async def inject(self) -> None:
        for link in self.system.links_to("redis-web"):
            link.set(Shape(dropped=frozenset({"up", "down"})))
        await asyncio.sleep(self.random.uniform(2, 3))
        await self.population.quiet()
        await asyncio.sleep(1)

    async def heal(self) -> None:
        for link in self.system.links_to("redis-web"):
            link.heal()


FAULTS: tuple[type[Fault], ...] = (KilledAndEmpty, LastWordsLost, Full, Hung, ListenersCut)
