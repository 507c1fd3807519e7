"""The built-in store's files: whole or not there, private, nothing left behind."""

import asyncio
import hashlib
import os
import stat
from pathlib import Path
from uuid import uuid4

import pytest

from integrations.local.blobs import INCOMING, PIECE_BYTES, BlobStore, pieces_of, place_of
from whispr.kernel.errors import TemporaryUnavailable, TooLarge
from whispr.kernel.ids import new_id

DATA = os.urandom(2 * PIECE_BYTES + 17)


def files_of(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


async def stored(store: BlobStore, data: bytes = DATA, step: int = 65_536):
    incoming = store.receive(new_id(), len(data))
    for start in range(0, len(data), step):
        await incoming.write(data[start : start + step])
    await incoming.finish()
    await incoming.keep()
    return incoming


async def test_what_was_written_is_read_piece_by_piece(tmp_path):
    store = BlobStore(tmp_path / "media")
    incoming = await stored(store)
    assert (incoming.size, incoming.sha256) == (len(DATA), hashlib.sha256(DATA).digest())
    file = await store.open(incoming.media_id)
    assert file is not None
    pieces = [piece async for piece in pieces_of(file)]
    assert b"".join(pieces) == DATA
    assert len(pieces) == 3
    assert file.closed


async def test_files_are_private_and_in_two_levels_of_folders(tmp_path):
    store = BlobStore(tmp_path / "media")
    incoming = await stored(store)
    (path,) = files_of(store.root)
    assert path == place_of(store.root, incoming.media_id)
    assert len(path.relative_to(store.root).parts) == 3
    assert path.name == str(incoming.media_id)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    folders = [parent for parent in path.parents if store.root in (parent, *parent.parents)]
    assert {stat.S_IMODE(folder.stat().st_mode) & 0o077 for folder in folders} == {0}


async def test_nothing_is_in_its_place_before_it_is_kept_and_an_abort_leaves_nothing(tmp_path):
    store = BlobStore(tmp_path / "media")
    incoming = store.receive(new_id(), len(DATA))
    await incoming.write(DATA)
    await incoming.finish()
    assert await store.open(incoming.media_id) is None
    assert [path.parent.name for path in files_of(store.root)] == [INCOMING]
    await incoming.abort()
    assert files_of(store.root) == []
    await incoming.abort()


async def test_an_abort_after_it_was_kept_keeps_it(tmp_path):
    store = BlobStore(tmp_path / "media")
    incoming = await stored(store)
    await incoming.abort()
    assert files_of(store.root) == [place_of(store.root, incoming.media_id)]


async def test_one_byte_too_many_is_refused(tmp_path):
    incoming = BlobStore(tmp_path / "media").receive(new_id(), 10)
    await incoming.write(b"1234567890")
    with pytest.raises(TooLarge):
        await incoming.write(b"1")
    await incoming.abort()


async def test_a_disk_that_takes_nothing_is_temporary(tmp_path):
    (tmp_path / "media").write_text("a file where the directory should be")
    incoming = BlobStore(tmp_path / "media").receive(new_id(), 10)
    await incoming.write(b"1")
    with pytest.raises(TemporaryUnavailable):
        await incoming.finish()


async def test_removing_takes_the_bytes_away_and_minds_nothing_that_is_gone(tmp_path):
    store = BlobStore(tmp_path / "media")
    incoming = await stored(store)
    store.remove(incoming.media_id)
    assert files_of(store.root) == []
    store.remove(incoming.media_id)
    store.remove(uuid4())
    assert await store.open(incoming.media_id) is None


async def test_the_sweep_removes_what_is_old_and_half_received_alone(tmp_path):
    store = BlobStore(tmp_path / "media")
    assert await store.sweep_incoming(0) == 0
    kept = await stored(store)
    halves = [store.receive(new_id(), len(DATA)) for _ in range(2)]
    for half in halves:
        await half.write(DATA)
    old = store.root / INCOMING / f"{halves[0].media_id}.part"
    os.utime(old, (1, 1))
    assert await store.sweep_incoming(3600) == 1
    left = {place_of(store.root, kept.media_id), store.root / INCOMING / f"{halves[1].media_id}.part"}
    assert set(files_of(store.root)) == left
    await asyncio.gather(*(half.abort() for half in halves))
