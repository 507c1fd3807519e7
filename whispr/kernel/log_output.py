"""Standard error as the log's end that never holds anybody up: lines wait in a bounded queue, and a thread writes them.

A pipe whose reader stands still takes 64 KiB; then the next write waits, and with it the event loop and every socket of
the process. Here only the thread waits, and what finds the queue full is dropped and counted.
"""

import atexit
import logging
import os
import threading
import time
from collections import deque

from whispr.kernel import telemetry

# What may wait: some 10,000 lines of 200 bytes, a second of the worst storm of warnings.
WAITING_BYTES_MAX = 2 * 1024 * 1024
FLUSH_SECONDS = 1.0
STDERR = 2


class LineWriter:
    """Writes lines to a file descriptor, from a thread of its own."""

    def __init__(self, fd: int = STDERR, waiting_max: int = WAITING_BYTES_MAX) -> None:
        self._fd = fd
        self._waiting_max = waiting_max
        self._reset()

    def _reset(self) -> None:
        """As at the beginning: a fork's child has no thread, and not the parent's lines to write."""
        self._lines: deque[bytes] = deque()
        self._bytes = 0
        self._dropped = 0
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def write(self, line: str) -> None:
        """Queue a line, or drop it where too much waits. Never waits for who reads."""
        data = line.encode(errors="backslashreplace") + b"\n"
        with self._changed:
            if self._bytes and self._bytes + len(data) > self._waiting_max:
                self._dropped += 1
                telemetry.log_dropped.inc()
                return
            if self._dropped:
                data = b"%d lines of the log were dropped here: nobody read it\n" % self._dropped + data
                self._dropped = 0
            self._lines.append(data)
            self._bytes += len(data)
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="log", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def flush(self, seconds: float = FLUSH_SECONDS) -> None:
        """Wait until everything is written, for at most `seconds`."""
        until = time.monotonic() + seconds
        with self._changed:
            while self._bytes and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)

    def _serve(self) -> None:
        while True:
            with self._changed:
                while not self._lines:
                    self._changed.wait()
                data = self._lines.popleft()
            self._write(data)
            with self._changed:
                self._bytes -= len(data)
                self._changed.notify_all()

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(self._fd, left) :]
            except BlockingIOError:  # somebody made the pipe non-blocking
                time.sleep(0.01)
            except OSError:  # nobody will ever read it
                return


_writer = LineWriter()
os.register_at_fork(after_in_child=_writer._reset)
atexit.register(_writer.flush)


class ConsoleHandler(logging.Handler):
    """Writes records to standard error without waiting for who reads it (LOGGING in the settings)."""

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the record's line."""
        try:
            _writer.write(self.format(record))
        except Exception:
            self.handleError(record)

    def flush(self) -> None:
        """Wait a moment for what is queued: at the end of the process."""
        _writer.flush()
