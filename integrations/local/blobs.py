"""Encrypted media on this machine's disk: one file each, named by its id, in folders of two levels.

Bytes are written beside (`incoming/`), synced, and renamed into their place; so what is in its place is whole. All of
it is readable by the server's account alone.
"""

import asyncio
import contextlib
import hashlib
import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from whispr.kernel.errors import TemporaryUnavailable, TooLarge

# Written and read in pieces of so many bytes: a thread hop each, 0.1 ms, and at most so much memory for each transfer.
PIECE_BYTES = 256 * 1024
INCOMING = "incoming"


class Incoming:
    """The bytes of one medium on their way in; `abort()` at the end leaves nothing of what was not kept."""

    def __init__(self, root: Path, media_id: UUID, max_bytes: int) -> None:
        self.media_id = media_id
        self.size = 0
        self._root = root
        self._path = root / INCOMING / f"{media_id}.part"
        self._max_bytes = max_bytes
        self._hash = hashlib.sha256()
        self._waiting = bytearray()
        self._file: BinaryIO | None = None

    @property
    def sha256(self) -> bytes:
        """The SHA-256 of all bytes; after `finish()`."""
        return self._hash.digest()

    async def write(self, data: bytes) -> None:
        """Take the next bytes. Raises TooLarge over the limit, TemporaryUnavailable where the disk takes no more."""
        if self.size + len(data) > self._max_bytes:
            raise TooLarge(f"A medium may have {self._max_bytes} bytes.")
        self.size += len(data)
        self._waiting += data
        if len(self._waiting) >= PIECE_BYTES:
            await self._flush()

    async def finish(self) -> None:
        """Write what is left and sync it to the disk. Raises TemporaryUnavailable."""
        await self._flush(sync=True)

    async def keep(self) -> None:
        """Put the finished bytes into their place. Raises TemporaryUnavailable."""
        with _translated():
            await asyncio.to_thread(self._keep)

    async def abort(self) -> None:
        """Drop what is not kept. Never fails."""
        with contextlib.suppress(OSError):
            await asyncio.to_thread(self._abort)

    async def _flush(self, *, sync: bool = False) -> None:
        data, self._waiting = bytes(self._waiting), bytearray()
        with _translated():
            await asyncio.to_thread(self._write, data, sync)

    def _write(self, data: bytes, sync: bool) -> None:
        if self._file is None:
            _make_folder(self._path.parent)
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            self._file = os.fdopen(descriptor, "wb", buffering=0)
        self._hash.update(data)
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
        if sync:
            os.fsync(self._file.fileno())
            self._file.close()

    def _keep(self) -> None:
        place = place_of(self._root, self.media_id)
        _make_folder(place.parent)
        self._path.replace(place)
        _sync_folder(place.parent)

    def _abort(self) -> None:
        if self._file is not None:
            self._file.close()
            self._path.unlink(missing_ok=True)


class BlobStore:
    """The media below one directory."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def receive(self, media_id: UUID, max_bytes: int) -> Incoming:
        """Begin to take a new medium of at most `max_bytes`."""
        return Incoming(self.root, media_id, max_bytes)

    async def open(self, media_id: UUID) -> BinaryIO | None:
        """A medium's file for reading, which the caller closes; None where there is none."""
        try:
            return await asyncio.to_thread(self._open, media_id)
        except FileNotFoundError:
            return None

    def _open(self, media_id: UUID) -> BinaryIO:
        return place_of(self.root, media_id).open("rb")

    def remove(self, media_id: UUID) -> None:
        """Take a medium's bytes away, in this thread; those that are not there are ignored. Raises OSError."""
        place_of(self.root, media_id).unlink(missing_ok=True)

    async def sweep_incoming(self, age_seconds: float) -> int:
        """Remove what a process that ended left half received; how many."""
        return await asyncio.to_thread(self._sweep, time.time() - age_seconds)

    def _sweep(self, before: float) -> int:
        count = 0
        with contextlib.suppress(FileNotFoundError), os.scandir(self.root / INCOMING) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    if entry.stat().st_mtime < before:
                        os.unlink(entry.path)
                        count += 1
        return count


async def pieces_of(file: BinaryIO) -> AsyncIterator[bytes]:
    """The bytes of an open file, piece by piece; it is closed at the end, however that comes."""
    try:
        while piece := await asyncio.to_thread(file.read, PIECE_BYTES):
            yield piece
    finally:
        file.close()


def place_of(root: Path, media_id: UUID) -> Path:
    """Where a medium's bytes are. The last bytes of an id name the folders: they are random, the first are the time."""
    name = str(media_id)
    return root / name[-2:] / name[-4:-2] / name


def _make_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    _sync_folder(folder.parent)  # a folder's own entry has to be on the disk too, or the file's may be lost with it


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TemporaryUnavailable("The media store does not take this now.") from error
