"""PostgreSQL and Valkey themselves, made and started for each case."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from whispr.embedded import account as accounts
from whispr.embedded import servers as module
from whispr.embedded.postgres import StartFailed
from whispr.embedded.process import kill_group
from whispr.embedded.servers import Servers, check_database, check_redis, temporary
from whispr.embedded.state import load_secrets, make_directory

CHOICES = ("PG_BINDIR", "REDIS_BIN", "PATH")
ENVIRONMENT = {name: os.environ[name] for name in CHOICES if name in os.environ}


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    make_directory(tmp_path / "state")
    yield tmp_path / "state"
    accounts.discard_private_place(tmp_path / "state")


@pytest.fixture
def servers(data: Path) -> Iterator[Servers]:
    running = Servers(data, ENVIRONMENT, load_secrets(data))
    yield running
    running.stop()


def test_servers_keep_what_they_were_given_and_are_durable(servers: Servers, data: Path) -> None:
    servers.start()
    with psycopg.connect(servers.urls["DATABASE_URL"]) as connection:
        for name, value in (("fsync", "on"), ("synchronous_commit", "on"), ("full_page_writes", "on")):
            assert connection.execute("SELECT current_setting(%s)", (name,)).fetchone() == (value,)
        assert connection.execute("SELECT lower('ÄÖ')").fetchone() in (("äö",), ("ÄÖ",))  # before 17 there is only C
        connection.execute("CREATE TABLE kept (n int)")
        connection.execute("INSERT INTO kept VALUES (7)")
    with redis.Redis.from_url(servers.urls["REDIS_URL"]) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        client.set("kept", "7")
    servers.stop()

    again = Servers(data, ENVIRONMENT, load_secrets(data))
    try:
        again.start()
        with psycopg.connect(again.urls["DATABASE_URL"]) as connection:
            assert connection.execute("SELECT n FROM kept").fetchall() == [(7,)]
        with redis.Redis.from_url(again.urls["REDIS_URL"]) as client:
            assert client.get("kept") == b"7"
    finally:
        again.stop()


def test_servers_killed_without_warning_have_what_was_acknowledged(servers: Servers, data: Path) -> None:
    servers.start()
    with psycopg.connect(servers.urls["DATABASE_URL"], autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (n int)")
        for number in range(20):
            connection.execute("INSERT INTO kept VALUES (%s)", (number,))
        with redis.Redis.from_url(servers.urls["REDIS_URL"]) as client:
            client.rpush("kept", *range(20))
        for child in servers.children:
            os.kill(child.process.pid, signal.SIGKILL)
            child.process.wait(10)
    assert servers.failed() is not None
    for child in servers.children:
        kill_group(child)

    again = Servers(data, ENVIRONMENT, load_secrets(data))
    try:
        again.start()
        with psycopg.connect(again.urls["DATABASE_URL"]) as connection:
            assert connection.execute("SELECT array_agg(n ORDER BY n) FROM kept").fetchone() == (list(range(20)),)
        with redis.Redis.from_url(again.urls["REDIS_URL"]) as client:
            assert client.llen("kept") == 20
    finally:
        again.stop()


def test_nobody_gets_in_without_the_password(servers: Servers) -> None:
    servers.start()
    at = servers.urls["DATABASE_URL"].partition("@")[2]
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(f"postgres://whispr:guess@{at}")
    at = servers.urls["REDIS_URL"].partition("@")[2]
    with redis.Redis.from_url(f"redis://{at}") as client, pytest.raises(redis.AuthenticationError):
        client.ping()
    for secret in (servers.secrets["postgres"], servers.secrets["valkey"]):
        for child in servers.children:
            assert secret not in " ".join(map(str, child.process.args))


def test_an_interrupted_initdb_is_made_anew(servers: Servers, data: Path) -> None:
    account = accounts.choose_account()
    half = accounts.reachable_home(data, account) / "pg18.new"
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")

    servers.start()

    assert psycopg.connect(servers.urls["DATABASE_URL"]).info.server_version >= 150_000


def test_a_pid_file_that_names_a_stranger_does_not_stop_the_start(servers: Servers, data: Path) -> None:
    servers.start()
    home = next(path for path in (data, accounts.private_place_name(data)) if list(path.glob("pg[0-9]*")))
    directory = next(home.glob("pg[0-9]*"))
    servers.stop()
    # What is left when the power fails, and the system gives the number to another process of the same user.
    (directory / "postmaster.pid").write_text(f"{os.getpid()}\n{directory}\n0\n1\n\n127.0.0.1\n 1 1\nready   \n")

    servers.start()

    with psycopg.connect(servers.urls["DATABASE_URL"]) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_servers_of_the_environment_are_used_and_not_started(data: Path) -> None:
    with temporary(ENVIRONMENT) as urls:
        named = Servers(data, {**ENVIRONMENT, **urls}, load_secrets(data))
        named.start()
        assert named.children == []
        assert named.urls == urls
    with pytest.raises(StartFailed, match="DATABASE_URL names a PostgreSQL that does not answer"):
        check_database(urls["DATABASE_URL"])
    with pytest.raises(StartFailed, match="REDIS_URL names a server that does not answer"):
        check_redis(urls["REDIS_URL"])


def test_a_test_run_never_gets_the_servers_of_the_environment_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    named = {"DATABASE_URL": "postgres://production/whispr", "REDIS_URL": "redis://production"}
    with temporary({**ENVIRONMENT, **named}) as urls:
        assert "production" not in "".join(urls.values())
        (data,) = tmp_path.iterdir()
        place = accounts.private_place_name(data)
    assert list(tmp_path.iterdir()) == []
    assert not place.exists()


def test_directories_of_killed_test_runs_go_and_those_of_living_ones_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    abandoned = tmp_path / f"whispr-test-{os.geteuid()}-old"
    young = tmp_path / f"whispr-test-{os.geteuid()}-new"
    for path in (abandoned, young):
        path.mkdir()
        (path / "lock").touch()
    os.utime(abandoned, (1, 1))

    module.remove_abandoned()

    assert [path.name for path in tmp_path.iterdir()] == [young.name]
