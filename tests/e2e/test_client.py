"""@whispr/client against a real server that is killed under it (specification §5.2; sdk/packages/client-tests)."""

import base64
from collections.abc import Callable
from pathlib import Path

import pytest
from django.db import connection

from tests.e2e.node import SDK
from tests.e2e.server import Server
from tests.e2e.vitest import run_package

PACKAGE = SDK / "packages" / "client-tests"
# The whole run takes about half a minute; a restart on a busy machine may take longer.
RUN_SECONDS = 300
# What the tests of encryption write into messages, drafts and media, and nothing else says.
CANARY = "canary"


def list_rows_with(word: str) -> list[str]:
    """The tables that hold `word`, as text, as bytes, or in base64 wherever it may begin."""
    raw = word.encode()
    shapes = [word, raw.hex()]
    for offset in range(3):
        # The characters of base64 that the word alone decides, at each of its three places in a group.
        encoded = base64.b64encode(b"\0" * offset + raw).decode()
        shapes.append(encoded[-(-8 * offset // 6) : (offset + len(raw)) * 8 // 6])
    found = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT count(*) FROM "{table}" AS t WHERE t::text ~ %s', ["|".join(shapes)])
            if cursor.fetchone()[0]:
                found.append(table)
    return found


@pytest.mark.node
def test_the_client(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(env={"WHISPR_HASH_CHAIN": "1", "WHISPR_MEDIA_DIR": str(tmp_path / "media")})
    run_package(PACKAGE, server, tmp_path / "report.json", RUN_SECONDS)
    # The server's tables and files hold nothing of what was encrypted; the search finds what is not.
    assert list_rows_with(CANARY) == []
    assert "messages" in list_rows_with('"text":"before"')
    media = [path.read_bytes() for path in (tmp_path / "media").rglob("*") if path.is_file()]
    assert media
    assert not any(CANARY.encode() in data for data in media)
