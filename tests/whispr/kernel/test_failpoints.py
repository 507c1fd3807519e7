"""Failpoints: off they do nothing, armed they do what they say, and a production refuses them."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from whispr import checks
from whispr.kernel import failpoints
from whispr.kernel.failpoints import Failed, hit


@pytest.fixture(autouse=True)
def disarmed():
    yield
    failpoints.arm("")


def test_a_place_that_is_not_armed_does_nothing():
    failpoints.arm("another:error")
    hit("send.before_commit")


def test_error_raises_after_the_hits_that_pass():
    failpoints.arm("send.before_commit:error:2")
    hit("send.before_commit")
    hit("send.before_commit")
    with pytest.raises(Failed):
        hit("send.before_commit")
    with pytest.raises(Failed):
        hit("send.before_commit")


def test_off_takes_it_away():
    failpoints.arm("a:error\nb:off")
    hit("b")
    failpoints.arm("a:off")
    hit("a")


def test_block_waits_until_it_is_taken_away():
    failpoints.arm("a:block")
    passed = threading.Event()

    def pass_by() -> None:
        hit("a")
        passed.set()

    thread = threading.Thread(target=pass_by, daemon=True)
    thread.start()
    assert not passed.wait(0.1)
    failpoints.arm("")
    assert passed.wait(5)
    thread.join()


def test_sleep_waits():
    failpoints.arm("a:sleep:0.05")
    began = time.monotonic()
    hit("a")
    assert time.monotonic() - began >= 0.05


@pytest.mark.parametrize("text", ["a", "a:dance", ":kill", "a:sleep:long"])
def test_what_says_nothing_is_refused(text):
    with pytest.raises(ValueError):
        failpoints.parse(text)


_PROGRAM = """
import sys, time
from whispr.kernel.failpoints import hit
print("ready", flush=True)
until = time.monotonic() + 20
while time.monotonic() < until:
    hit("place")
    time.sleep(0.01)
"""


def _start(**environment: str) -> subprocess.Popen[str]:
    known = {name: value for name, value in os.environ.items() if not name.startswith("WHISPR_")}
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM], env=known | environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_the_file_arms_a_running_process_and_one_alone_dies_of_it(tmp_path: Path):
    file = tmp_path / "failpoints"
    environment = {"WHISPR_FAILPOINTS_FILE": str(file), "WHISPR_ALLOW_FAILPOINTS": "1"}
    processes = [_start(**environment) for _ in range(2)]
    try:
        written = tmp_path / "new"
        written.write_text("place:kill")
        written.rename(file)
        until = time.monotonic() + 10
        while all(process.poll() is None for process in processes) and time.monotonic() < until:
            time.sleep(0.02)
        time.sleep(0.2)
        assert sorted(process.poll() is None for process in processes) == [False, True]
        assert -9 in [process.poll() for process in processes]
        assert not file.exists()
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_a_process_that_is_not_a_tests_heeds_nothing():
    process = _start(WHISPR_FAILPOINTS="place:kill")
    try:
        time.sleep(0.2)
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()


def _codes() -> set[str]:
    return {message.id for message in checks.check_settings() if message.id in ("whispr.E020", "whispr.W020")}


def test_serving_with_failpoints_is_refused_unless_allowed(monkeypatch):
    for name in ("WHISPR_DEBUG", "WHISPR_ALLOW_FAILPOINTS", "WHISPR_FAILPOINTS", "WHISPR_FAILPOINTS_FILE"):
        monkeypatch.delenv(name, raising=False)
    assert _codes() == set()
    monkeypatch.setenv("WHISPR_FAILPOINTS", "send.before_commit:kill")
    assert _codes() == {"whispr.E020"}
    monkeypatch.setenv("WHISPR_ALLOW_FAILPOINTS", "1")
    assert _codes() == {"whispr.W020"}
