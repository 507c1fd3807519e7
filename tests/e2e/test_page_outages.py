"""The web client while things go wrong: the server away, the network away, sends that are refused."""

import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.e2e.browser import (
    Devices,
    composer,
    expect,
    expect_message,
    expect_state,
    log,
    message,
    open_chat,
    texts,
    write,
)
from tests.e2e.server import Server

pytestmark = [pytest.mark.browser]


@pytest.fixture
def begin(shared_browser: Any) -> Iterator[Callable[..., Devices]]:
    """Devices on a server with the given settings."""
    begun: list[Devices] = []

    def begin_devices(workers: int = 1, **env: str) -> Devices:
        begun.append(Devices(shared_browser, Server(workers=workers, env=env)))
        begun[-1].server.start()
        return begun[-1]

    yield begin_devices
    for devices in begun:
        devices.close()
        devices.server.kill()


def test_the_server_restarts_while_one_types(begin: Callable[..., Devices]) -> None:
    devices = begin()
    ann, bob = devices.sign_in("Ann"), devices.sign_in("Bob")
    open_chat(ann, "Bob")
    write(ann, "first")
    open_chat(bob, "Ann")
    expect_state(ann, "first", "read")

    composer(ann).press_sequentially("second, ")
    devices.server.kill()
    expect(ann.get_by_role("status").filter(has_text="kept on this device and sent once")).to_be_visible()
    composer(ann).press_sequentially("typed on")
    composer(ann).press("Enter")
    write(ann, "third")
    expect_state(ann, "third", "waiting")
    expect(ann.get_by_role("status").filter(has_text="2 messages wait to be sent")).to_be_visible()
    devices.server.start()
    for text in ("second, typed on", "third"):
        expect_state(ann, text, "read")
    expect(ann.get_by_text("No connection")).to_have_count(0)
    assert texts(bob) == texts(ann) == ["first", "second, typed on", "third"]
    assert devices.faults == []


def test_what_was_written_offline_survives_a_closed_tab(begin: Callable[..., Devices]) -> None:
    devices = begin()
    device = devices.new()
    cleo, dan = device.sign_in("Cleo"), devices.sign_in("Dan")
    open_chat(cleo, "Dan")
    write(cleo, "before")
    open_chat(dan, "Cleo")
    expect_message(dan, "before")
    expect_state(cleo, "before", "read")
    device.context.set_offline(True)
    write(cleo, "written offline")
    expect(message(cleo, "written offline")).to_be_visible()
    cleo.wait_for_timeout(300)  # it is in IndexedDB a moment after it is shown
    cleo.close()
    device.context.set_offline(False)
    device.page = device.context.new_page()
    again = device.open()
    again.get_by_role("button", name="Continue as Cleo").click()
    expect_message(dan, "written offline")
    open_chat(again, "Dan")
    expect_state(again, "written offline", "read")
    assert texts(dan) == ["before", "written offline"]


def test_a_refused_send_says_why_and_when_it_is_tried_again(begin: Callable[..., Devices]) -> None:
    devices = begin(WHISPR_SENDS_PER_MINUTE="3")
    eva, finn = devices.sign_in("Eva"), devices.sign_in("Finn")
    open_chat(eva, "Finn")
    open_chat(finn, "Eva")
    for text in ("one", "two", "three", "four", "five"):
        write(eva, text)
    panel = eva.get_by_role("region").filter(has_text="That was a lot of messages in a short time.")
    expect(panel.get_by_role("listitem").filter(has_text="four").get_by_text("Next try in")).to_be_visible()
    expect_state(eva, "three", "read")
    # Nothing overtakes it: what was written after it waits too.
    expect_state(eva, "five", "waiting")
    panel.get_by_role("listitem").filter(has_text="four").get_by_role("button", name="Discard").click()
    expect(message(eva, "four")).to_have_count(0)
    assert texts(finn) == ["one", "two", "three"]


def test_a_send_that_is_refused_for_good_is_a_persons_to_decide(begin: Callable[..., Devices]) -> None:
    devices = begin(workers=2)
    first, second = devices.server.workers
    gus = devices.sign_in("Gus")
    hana = devices.server.sign_in("Hana")
    gus_id = devices.server.sign_in("Gus")["userId"]
    group = {"type": "group", "members": [gus_id], "settings": {"name": "Sunday walk"}}
    status, made = devices.server.request("POST", "conversations", group, hana["token"])
    assert status == 201, made
    open_chat(gus, "Sunday walk")
    first.end(signal.SIGKILL)
    expect(gus.get_by_text("No connection").first).to_be_visible()
    write(gus, "too late")
    write(gus, "never mind")
    elsewhere = Server.__new__(Server)
    elsewhere.workers = [second]
    status, _ = elsewhere.request("DELETE", f"conversations/{made['id']}/members/{gus_id}", token=hana["token"])
    assert status == 204
    first.start()
    panel = gus.get_by_role("region", name="Not sent")
    expect(panel.get_by_role("listitem")).to_have_count(2)
    expect_state(gus, "too late", "failed")
    row = panel.get_by_role("listitem").filter(has_text="too late")
    row.get_by_role("button", name="Try again").click()
    expect(row).to_be_visible()
    row.get_by_role("button", name="Discard").click()
    expect(message(gus, "too late")).to_have_count(0)
    panel.get_by_role("listitem").filter(has_text="never mind").get_by_role("button", name="Edit").click()
    expect(composer(gus)).to_have_value("never mind")
    expect(log(gus).get_by_role("article")).to_have_count(0)
