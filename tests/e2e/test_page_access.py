"""The web client for everybody: without a mouse, on a phone, in French, in the dark, and as axe-core sees it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.e2e.browser import (
    Devices,
    act,
    composer,
    expect,
    expect_message,
    expect_state,
    log,
    message,
    open_chat,
    write,
)
from tests.e2e.node import SDK
from tests.e2e.server import Server

pytestmark = [pytest.mark.browser]

AXE = SDK / "node_modules" / "axe-core" / "axe.min.js"
PHONE = {"width": 390, "height": 844}


@pytest.fixture
def devices(browser: Any, start: Callable[..., Server]) -> Iterator[Devices]:
    devices = Devices(browser, start())
    yield devices
    devices.close()


def violations(page: Any) -> list[str]:
    """What axe-core finds against WCAG 2.2 AA and its own best practices."""
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"]
    return [f"{one['id']}: {one['help']}: {node['html'][:160]}" for one in found for node in one["nodes"]]


def test_axe_finds_nothing(devices: Devices) -> None:
    if not AXE.exists():
        pytest.skip("sdk/ is not installed: run `npm ci` there (script/test does)")
    start = devices.new().open()
    start.get_by_label("Your name").wait_for()
    assert violations(start) == []
    ann, bob = devices.sign_in("Ann"), devices.sign_in("Bob", viewport=PHONE, color_scheme="dark")
    assert violations(ann) == []
    assert violations(bob) == []
    open_chat(ann, "Bob")
    for text in ("Hello", "https://example.org", "Gone"):
        write(ann, text)
    act(ann, "Gone", "Delete for everyone")
    open_chat(bob, "Ann")
    act(bob, "Hello", "React 👍")
    act(bob, "Hello", "Reply")
    write(bob, "Yes?")
    expect_message(ann, "Yes?")
    assert violations(ann) == []
    assert violations(bob) == []
    message(ann, "Yes?").hover()
    message(ann, "Yes?").get_by_role("button", name="Message actions").click()
    assert violations(ann) == []
    ann.get_by_role("menuitem", name="Details").click()
    ann.get_by_role("dialog").wait_for()
    assert violations(ann) == []
    ann.get_by_role("button", name="Close").click()
    for name in ("About this conversation", "Settings", "New group"):
        for page in (ann, bob):
            if page is bob and name != "About this conversation":
                continue
            page.get_by_role("button", name=name).last.click()
            page.get_by_role("dialog").wait_for()
            assert violations(page) == []
            page.get_by_role("button", name="Close").click()
    devices.server.kill()
    ann.get_by_text("No connection").first.wait_for()
    write(ann, "waits")
    assert violations(ann) == []


def test_with_the_keyboard_alone(devices: Devices) -> None:
    bob = devices.sign_in("Bob")
    ann = devices.new().open()
    keys = ann.keyboard
    ann.get_by_label("Your name").wait_for()
    keys.type("Ann")  # the field has the focus
    keys.press("Enter")
    ann.get_by_role("button", name="Bob").wait_for()

    def tab_to(locator: Any, backwards: bool = False) -> None:
        for _ in range(25):
            if locator.evaluate("element => element === document.activeElement"):
                return
            keys.press("Shift+Tab" if backwards else "Tab")
        raise AssertionError(f"Tab does not lead to {locator}")

    tab_to(ann.get_by_role("button", name="Bob"))
    keys.press("Enter")
    composer(ann).wait_for()
    tab_to(composer(ann))
    keys.type("one")
    keys.press("Enter")
    keys.type("two")
    keys.press("Enter")
    expect_state(ann, "two", "delivered")
    open_chat(bob, "Ann")
    expect_message(bob, "two")

    # Back into the list: one stop, arrow keys walk it, and Tab leads to what can be done.
    tab_to(message(ann, "two"), backwards=True)
    keys.press("ArrowUp")
    expect(message(ann, "one")).to_be_focused()
    keys.press("ArrowDown")
    expect(message(ann, "two")).to_be_focused()
    keys.press("Tab")
    keys.press("Tab")
    expect(message(ann, "two").get_by_role("button", name="Message actions")).to_be_focused()
    keys.press("Enter")
    expect(ann.get_by_role("menu")).to_be_visible()
    keys.press("ArrowUp")
    expect(ann.get_by_role("menuitem", name="Delete for everyone")).to_be_focused()
    keys.press("Escape")
    expect(message(ann, "two").get_by_role("button", name="Message actions")).to_be_focused()
    keys.press("Enter")
    keys.press("ArrowUp")
    keys.press("Enter")
    expect(log(bob).get_by_text("This message was deleted")).to_be_visible()

    tab_to(ann.get_by_role("button", name="Settings"), backwards=True)
    keys.press("Enter")
    expect(ann.get_by_role("dialog", name="Settings")).to_be_visible()
    keys.press("Escape")
    expect(ann.get_by_role("dialog")).to_have_count(0)
    expect(ann.get_by_role("button", name="Settings")).to_be_focused()


def test_a_phone_in_french_and_in_the_dark(devices: Devices) -> None:
    devices.sign_in("Bob")
    device = devices.new(viewport=PHONE, color_scheme="dark", locale="fr-FR", has_touch=True, is_mobile=True)
    zoe = device.sign_in("Zoé", label="Votre nom")
    expect(zoe.get_by_role("heading", name="Choisissez à qui écrire")).to_be_hidden()
    zoe.get_by_role("button", name="Bob").click()
    expect(zoe.get_by_role("navigation")).to_be_hidden()
    write(zoe, "un mot sans fin " + "m" * 300)
    expect_state(zoe, "un mot", "delivered")
    expect(message(zoe, "un mot")).to_contain_text("Distribué")
    assert zoe.evaluate("document.documentElement.lang") == "fr"
    assert zoe.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    zoe.get_by_role("button", name="Retour à la liste").click()
    expect(zoe.get_by_role("navigation")).to_be_visible()
    # The browser's own Back leads there too.
    zoe.get_by_role("button", name="Bob").click()
    expect(composer(zoe)).to_be_visible()
    zoe.go_back()
    expect(zoe.get_by_role("navigation")).to_be_visible()
    # Another language and other colours at once, and after a reload.
    zoe.get_by_role("button", name="Réglages").click()
    zoe.get_by_label("Couleurs").select_option("light")
    zoe.get_by_label("Langue").select_option("en")
    expect(zoe.get_by_role("dialog", name="Settings")).to_be_visible()
    zoe.reload()
    expect(zoe.get_by_role("button", name="Settings")).to_be_visible()
    assert zoe.evaluate("document.documentElement.dataset.theme") == "light"
    assert devices.faults == []
