"""What goes wrong, a module a family. `FAULTS` has every fault by its number (docs/reliability.md)."""

from tests.chaos.faults import (
    celery,
    clocks,
    disk,
    failover,
    logs,
    network,
    overload,
    postgres,
    processes,
    redis,
    services,
    versions,
)
from tests.chaos.faults.base import Fault, Scene

FAMILIES = {
    "processes": (*processes.FAULTS, *logs.FAULTS, *versions.FAULTS),
    "postgres": (*postgres.FAULTS, *disk.FAULTS, *failover.FAULTS),
    "redis": redis.FAULTS,
    "network": network.FAULTS,
    "celery": celery.FAULTS,
    "services": services.FAULTS,
    "clocks": clocks.FAULTS,
    "overload": overload.FAULTS,
}
FAULTS: dict[str, type[Fault]] = {fault.id: fault for faults in FAMILIES.values() for fault in faults}

__all__ = ["FAMILIES", "FAULTS", "Fault", "Scene"]
