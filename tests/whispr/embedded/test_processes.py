import pytest
from websockets.frames import Frame, Opcode

from whispr import uvicorn_server
from whispr.embedded import processes
from whispr.kernel.limits import LIMITS


def option(command: list[str], name: str) -> str:
    return command[command.index(name) + 1]


def test_uvicorn_takes_the_limits_of_the_contract() -> None:
    command = processes.web({}, host="127.0.0.1", port=8000)

    assert command[1:3] == ["-m", "whispr.uvicorn_server"]
    assert (option(command, "--host"), option(command, "--port")) == ("127.0.0.1", "8000")
    told = uvicorn_server.settings()
    assert told["ws_max_size"] == LIMITS.frame_bytes
    assert told["ws_per_message_deflate"] is False
    assert told["timeout_graceful_shutdown"] < 10
    assert told["access_log"] is False


def test_forwarded_addresses_are_believed_of_named_proxies_alone() -> None:
    assert "--forwarded-allow-ips" not in processes.web({}, host="0.0.0.0", port=1)
    assert uvicorn_server.settings()["proxy_headers"] is False
    named = processes.web({"FORWARDED_ALLOW_IPS": "10.0.0.1"}, host="0.0.0.0", port=1)
    assert option(named, "--forwarded-allow-ips") == "10.0.0.1"
    assert uvicorn_server.settings("10.0.0.1")["proxy_headers"] is True


@pytest.mark.parametrize("length", [0, 1, 125, 126, 65_535, 65_536, 131_072])
def test_a_frame_head_is_what_the_websockets_library_writes(length: int) -> None:
    payload = b"x" * length
    written = Frame(Opcode.TEXT, payload).serialize(mask=False)

    assert uvicorn_server.frame_head(0x81, length) + payload == written


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


def test_each_process_of_a_machine_has_a_port_of_metrics_of_its_own() -> None:
    ports = [processes.with_metrics_port({"WHISPR_METRICS_PORT": "9100"}, n)["WHISPR_METRICS_PORT"] for n in range(3)]

    assert ports == ["9100", "9101", "9102"]
    assert processes.with_metrics_port({}, 2)["WHISPR_METRICS_PORT"] == "0"


def test_the_entry_for_services_is_a_role_of_its_own() -> None:
    assert processes.deployed("grpc", {})[1:] == ["manage.py", "grpc_server"]


def test_a_role_takes_its_address_from_the_environment_and_unknown_roles_are_refused() -> None:
    command = processes.deployed("web", {"WHISPR_PORT": "9000", "WHISPR_HOST": "10.1.1.1"}, ["--log-level", "debug"])

    assert (option(command, "--host"), option(command, "--port")) == ("10.1.1.1", "9000")
    assert command[-2:] == ["--log-level", "debug"]
    with pytest.raises(ValueError, match="web, worker, beat, grpc and migrate"):
        processes.deployed("cook", {})
