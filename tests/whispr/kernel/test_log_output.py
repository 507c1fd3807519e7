"""The log never waits for who reads it, and says what it dropped."""

import contextlib
import fcntl
import logging
import os
import time

import pytest

from whispr.kernel.log_output import ConsoleHandler, LineWriter


@pytest.fixture
def pipe():
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4_096)
    yield reading, writing
    os.set_blocking(reading, False)
    while True:  # let the writer's thread go
        try:
            if not os.read(reading, 65_536):
                break
        except BlockingIOError:
            break
    os.close(reading)


def read_until(reading: int, end: bytes) -> bytes:
    found = b""
    while end not in found:
        found += os.read(reading, 65_536)
    return found


def test_lines_arrive_in_order(pipe):
    reading, writing = pipe
    writer = LineWriter(writing)
    for number in range(1_000):
        writer.write(f"line {number}")
    assert read_until(reading, b"line 999\n") == b"".join(b"line %d\n" % number for number in range(1_000))


def test_nobody_waits_while_nobody_reads_and_what_was_dropped_is_told(pipe):
    reading, writing = pipe
    writer = LineWriter(writing, waiting_max=10_000)
    for number in range(10_000):  # would wait for ever after 4 KiB
        writer.write(f"line {number}")
    assert writer._bytes <= 10_100  # with the word of what was dropped
    kept = read_until(reading, b"line 100\n")
    assert kept.startswith(b"line 0\nline 1\n")
    os.set_blocking(reading, False)
    while writer._bytes:
        with contextlib.suppress(BlockingIOError):
            os.read(reading, 65_536)
    os.set_blocking(reading, True)
    writer.write("afterwards")
    said = read_until(reading, b"afterwards\n").splitlines()[-2:]
    dropped = int(said[0].split()[0])
    assert said == [b"%d lines of the log were dropped here: nobody read it" % dropped, b"afterwards"]
    assert 0 < dropped < 10_000


def test_a_reader_that_is_gone_harms_nobody(pipe):
    _, writing = pipe
    reading, writing = os.pipe()
    os.close(reading)
    writer = LineWriter(writing)
    writer.write("for nobody")
    writer.flush(5)
    assert writer._bytes == 0


def test_a_child_writes_only_its_own_lines(pipe):
    _, writing = pipe
    writer = LineWriter(writing)
    writer.write("the parent's " * 1_000)  # more than the pipe takes
    time.sleep(0.01)
    writer._reset()
    assert writer._bytes == 0
    assert writer._thread is None


def test_a_record_is_a_line_of_standard_error(capfd):
    handler = ConsoleHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    handler.emit(logging.LogRecord("name", logging.WARNING, "file", 1, "a %s", ("word",), None))
    handler.flush()
    assert capfd.readouterr().err == "WARNING a word\n"
