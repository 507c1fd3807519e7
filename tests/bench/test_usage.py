"""bench/usage.py, on this very process and its child."""

import os
import socket
import subprocess
import sys
import time

from bench.usage import Meter, between, children_of, cpu_seconds, listeners_on, memory_bytes, name_of, parent_of

NOBODY = 2**22 + 1  # above the largest process id of Linux


def _spin(seconds: float) -> None:
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def test_cpu_seconds_grow_with_work() -> None:
    before = cpu_seconds(os.getpid())
    _spin(0.3)
    assert 0.25 <= cpu_seconds(os.getpid()) - before < 30


def test_memory_grows_with_what_is_held() -> None:
    resident, proportional = memory_bytes(os.getpid())
    held = bytearray(os.urandom(1)) * (64 * 2**20)
    resident_after, proportional_after = memory_bytes(os.getpid())
    assert len(held) == 64 * 2**20
    assert resident_after - resident > 56 * 2**20
    assert proportional_after - proportional > 56 * 2**20


def test_a_process_and_its_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert child.pid in children_of(os.getpid())
        assert parent_of(child.pid) == os.getpid()
        assert name_of(child.pid)
        child.communicate(b"\n")


def test_a_process_that_is_not_there() -> None:
    assert cpu_seconds(NOBODY) == 0
    assert memory_bytes(NOBODY) == (0, 0)
    assert children_of(NOBODY) == []
    assert parent_of(NOBODY) is None


def test_who_listens() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        assert os.getpid() not in listeners_on(port)
        listener.listen()
        assert os.getpid() in listeners_on(port)


def test_the_meter_tells_the_parts_apart() -> None:
    meter = Meter(servers=[NOBODY], postmaster=None)
    before = meter.read(10.0)
    _spin(0.2)
    used = between(before, meter.read(12.0))
    assert used.generator >= 0.15
    assert (used.server, used.postgres, used.wall) == (0.0, None, 2.0)
