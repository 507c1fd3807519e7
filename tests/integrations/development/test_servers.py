"""The development services: their modes, their control file, and what they refuse to do."""

import asyncio
import json
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command

from integrations.development.modes import OK, Mode
from integrations.development.servers import DevelopmentService, DevelopmentServices


@pytest.mark.parametrize("text", ["", "late", "slow", "slow:", "slow:x", "slow:-1", "slow:nan", "ok:1", "slow:1e9"])
def test_what_is_no_mode_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Mode.parse(text)


def test_modes_are_read() -> None:
    assert Mode.parse("slow:0.5") == Mode("slow", 0.5)
    assert [Mode.parse(text).kind for text in ("ok", "wrong", "error", "deny", "gone")] == [
        "ok",
        "wrong",
        "error",
        "deny",
        "gone",
    ]


async def is_open(service: DevelopmentService) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", service.port)
    except ConnectionRefusedError:
        return False
    writer.close()
    return True


async def test_the_control_file_is_followed_and_a_bad_one_is_not(tmp_path: Path) -> None:
    control = tmp_path / "control.json"
    users, media = DevelopmentService("users"), DevelopmentService("media")
    services = DevelopmentServices([users, media], control)
    await services.start({"media": Mode("wrong")})
    try:
        port = users.port
        await services.look()  # there is no file yet
        assert (users.behaviour.mode, media.behaviour.mode) == (OK, Mode("wrong"))
        control.write_text(json.dumps({"users": "gone", "media": "slow:2"}))
        await services.look()
        assert not await is_open(users)
        assert media.behaviour.mode == Mode("slow", 2)
        for bad in ("{", "[]", '{"users": "late"}'):
            control.write_text(bad)
            await services.look()
            assert not await is_open(users)
        control.write_text("{}")
        await services.look()
        assert await is_open(users)
        assert (users.port, media.behaviour.mode) == (port, OK)
    finally:
        await services.stop()


@pytest.mark.parametrize(
    "arguments",
    [["nobody"], ["--mode", "users=late"], ["users", "--mode", "media=ok"], ["--cert", "x"]],
)
def test_what_cannot_be_served_is_explained(arguments: list[str]) -> None:
    with pytest.raises(CommandError):
        call_command("run_services", *arguments)


async def test_a_taken_port_is_explained() -> None:
    first = DevelopmentService("users")
    await first.start()
    try:
        with pytest.raises(ImproperlyConfigured):
            await DevelopmentService("media", port=first.port).start()
    finally:
        await first.stop()
