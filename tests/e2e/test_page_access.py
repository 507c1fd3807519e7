"""The web client for everybody: without a mouse, on a phone, in French, in the dark, and as axe-core sees it."""

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

pytestmark = [pytest.mark.browser]

AXE = SDK / "node_modules" / "axe-core" / "axe.min.js"
PHONE = {"width": 390, "height": 844}


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
    ida, jon = devices.sign_in("Ida"), devices.sign_in("Jon", viewport=PHONE, color_scheme="dark")
    assert violations(ida) == []
    assert violations(jon) == []
    open_chat(ida, "Jon")
    for text in ("Hello", "https://example.org", "Gone"):
        write(ida, text)
    act(ida, "Gone", "Delete for everyone")
    open_chat(jon, "Ida")
    act(jon, "Hello", "React 👍")
    act(jon, "Hello", "Reply")
    write(jon, "Yes?")
    expect_message(ida, "Yes?")
    assert violations(ida) == []
    assert violations(jon) == []
    message(ida, "Yes?").hover()
    message(ida, "Yes?").get_by_role("button", name="Message actions").click()
    assert violations(ida) == []
    ida.get_by_role("menuitem", name="Details").click()
    ida.get_by_role("dialog").wait_for()
    assert violations(ida) == []
    ida.get_by_role("button", name="Close").click()
    for name in ("About this conversation", "Settings", "New group"):
        for page in (ida, jon):
            if page is jon and name != "About this conversation":
                continue
            page.get_by_role("button", name=name).last.click()
            page.get_by_role("dialog").wait_for()
            assert violations(page) == []
            page.get_by_role("button", name="Close").click()
    ida.context.set_offline(True)
    ida.get_by_text("No connection").first.wait_for()
    write(ida, "waits")
    assert violations(ida) == []


def test_with_the_keyboard_alone(devices: Devices) -> None:
    leo = devices.sign_in("Leo")
    kim = devices.new().open()
    keys = kim.keyboard
    kim.get_by_label("Your name").wait_for()
    keys.type("Kim")  # the field has the focus
    keys.press("Enter")
    kim.get_by_role("button", name="Leo").wait_for()

    def tab_to(locator: Any, backwards: bool = False) -> None:
        for _ in range(25):
            if locator.evaluate("element => element === document.activeElement"):
                return
            keys.press("Shift+Tab" if backwards else "Tab")
        raise AssertionError(f"Tab does not lead to {locator}")

    tab_to(kim.get_by_role("button", name="Leo"))
    keys.press("Enter")
    composer(kim).wait_for()
    tab_to(composer(kim))
    keys.type("one")
    keys.press("Enter")
    keys.type("two")
    keys.press("Enter")
    expect_state(kim, "two", "delivered")
    open_chat(leo, "Kim")
    expect_message(leo, "two")

    # Back into the list: one stop, arrow keys walk it, and Tab leads to what can be done.
    tab_to(message(kim, "two"), backwards=True)
    keys.press("ArrowUp")
    expect(message(kim, "one")).to_be_focused()
    keys.press("ArrowDown")
    expect(message(kim, "two")).to_be_focused()
    keys.press("Tab")
    keys.press("Tab")
    expect(message(kim, "two").get_by_role("button", name="Message actions")).to_be_focused()
    keys.press("Enter")
    expect(kim.get_by_role("menu")).to_be_visible()
    keys.press("ArrowUp")
    expect(kim.get_by_role("menuitem", name="Delete for everyone")).to_be_focused()
    keys.press("Escape")
    expect(message(kim, "two").get_by_role("button", name="Message actions")).to_be_focused()
    keys.press("Enter")
    keys.press("ArrowUp")
    keys.press("Enter")
    expect(log(leo).get_by_text("This message was deleted")).to_be_visible()

    # The last message is edited from the empty field: Escape gives it up, Enter saves it.
    tab_to(composer(kim))
    keys.press("ArrowUp")
    expect(composer(kim)).to_have_value("one")
    keys.press("Escape")
    expect(composer(kim)).to_have_value("")
    keys.press("ArrowUp")
    keys.press("End")
    keys.type(" and a half")
    keys.press("Enter")
    expect_message(leo, "one and a half")

    # The safety number is compared, and the focus goes back to where it was.
    about = kim.get_by_role("button", name="About this conversation").last
    tab_to(about, backwards=True)
    keys.press("Enter")
    dialog = kim.get_by_role("dialog", name="About this conversation")
    expect(dialog.locator(".safety-number")).to_be_visible()
    tab_to(dialog.get_by_role("button", name="They are the same"))
    keys.press("Enter")
    expect(dialog.get_by_text("Verified", exact=True)).to_be_visible()
    keys.press("Escape")
    expect(about).to_be_focused()

    tab_to(kim.get_by_role("button", name="Settings"), backwards=True)
    keys.press("Enter")
    expect(kim.get_by_role("dialog", name="Settings")).to_be_visible()
    keys.press("Escape")
    expect(kim.get_by_role("dialog")).to_have_count(0)
    expect(kim.get_by_role("button", name="Settings")).to_be_focused()


def test_a_phone_in_french_and_in_the_dark(devices: Devices) -> None:
    devices.sign_in("Max")
    device = devices.new(viewport=PHONE, color_scheme="dark", locale="fr-FR", has_touch=True, is_mobile=True)
    zoe = device.sign_in("Zoé", label="Votre nom")
    expect(zoe.get_by_role("heading", name="Choisissez à qui écrire")).to_be_hidden()
    zoe.get_by_role("button", name="Max").click()
    expect(zoe.get_by_role("navigation")).to_be_hidden()
    write(zoe, "un mot sans fin " + "m" * 300)
    expect_state(zoe, "un mot", "delivered")
    expect(message(zoe, "un mot")).to_contain_text("Distribué")
    assert zoe.evaluate("document.documentElement.lang") == "fr"
    assert zoe.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    zoe.get_by_role("button", name="Retour à la liste").click()
    expect(zoe.get_by_role("navigation")).to_be_visible()
    # The browser's own Back leads there too.
    zoe.get_by_role("button", name="Max").click()
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
