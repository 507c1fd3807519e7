import pytest

from whispr.embedded import processes
from whispr.kernel.limits import LIMITS


def option(command: list[str], name: str) -> str:
    return command[command.index(name) + 1]


def test_uvicorn_takes_the_limits_of_the_contract() -> None:
    command = processes.web({}, host="127.0.0.1", port=8000)

    assert command[1:4] == ["-m", "uvicorn", "whispr.asgi:application"]
    assert (option(command, "--host"), option(command, "--port")) == ("127.0.0.1", "8000")
    assert option(command, "--ws-max-size") == str(LIMITS.frame_bytes)
    assert option(command, "--ws-per-message-deflate") == "false"
    assert int(option(command, "--timeout-graceful-shutdown")) < 10
    assert "--no-access-log" in command


def test_forwarded_addresses_are_believed_of_named_proxies_alone() -> None:
    assert "--no-proxy-headers" in processes.web({}, host="0.0.0.0", port=1)
    named = processes.web({"FORWARDED_ALLOW_IPS": "10.0.0.1"}, host="0.0.0.0", port=1)
    assert option(named, "--forwarded-allow-ips") == "10.0.0.1"
    assert "--no-proxy-headers" not in named


def test_uvicorn_on_an_inherited_socket_opens_none() -> None:
    command = processes.web({}, host="127.0.0.1", port=8000, fd=7)

    assert option(command, "--fd") == "7"
    assert "--port" not in command


def test_daphne_is_the_other_choice_and_there_is_no_third() -> None:
    command = processes.web({"WHISPR_ASGI_SERVER": "daphne"}, host="127.0.0.1", port=8001)

    assert command[1:] == ["-m", "whispr.daphne_server", "-b", "127.0.0.1", "-p", "8001"]
    with pytest.raises(ValueError, match="hypercorn"):
        processes.asgi_server({"WHISPR_ASGI_SERVER": "hypercorn"})


def test_only_the_local_worker_schedules() -> None:
    assert "-B" in processes.worker(beat=True)
    assert "-B" not in processes.deployed("worker", {})
    assert "beat" in processes.deployed("beat", {})


def test_a_role_takes_its_address_from_the_environment_and_unknown_roles_are_refused() -> None:
    command = processes.deployed("web", {"WHISPR_PORT": "9000", "WHISPR_HOST": "10.1.1.1"}, ["--log-level", "debug"])

    assert (option(command, "--host"), option(command, "--port")) == ("10.1.1.1", "9000")
    assert command[-2:] == ["--log-level", "debug"]
    with pytest.raises(ValueError, match="web, worker, beat and migrate"):
        processes.deployed("cook", {})
