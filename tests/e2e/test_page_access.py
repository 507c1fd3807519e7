"""The web client for everybody: without a mouse, on a phone, in French, in the dark, from right to left, and as
axe-core sees it.

`WHISPR_TEST_PICTURES=DIR` writes a picture of each state that axe-core looked at there.
"""

import os
import re
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.browser import (
    Devices,
    act,
    composer,
    expect,
    expect_message,
    expect_state,
    forget_keys,
    log,
    message,
    open_chat,
    write,
)
from tests.e2e.node import SDK

pytestmark = [pytest.mark.browser]

AXE = SDK / "node_modules" / "axe-core" / "axe.min.js"
PHONE = {"width": 390, "height": 844}


def violations(page: Any, name: str = "") -> list[str]:
    """What axe-core finds against WCAG 2.2 AA and its own best practices. `name`: of the picture."""
    pictures = os.environ.get("WHISPR_TEST_PICTURES")
    if pictures and name:
        page.screenshot(path=Path(pictures) / f"{name}.png")
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


def test_notices_of_keys_and_what_is_decided_about_them(devices: Devices) -> None:
    if not AXE.exists():
        pytest.skip("sdk/ is not installed: run `npm ci` there (script/test does)")
    nora = devices.sign_in("Nora")
    device = devices.new()
    otto = device.sign_in("Otto")
    open_chat(nora, "Otto")
    write(nora, "one")
    expect_state(nora, "one", "delivered")
    small = devices.sign_in("Nora", viewport={"width": 320, "height": 640}, color_scheme="dark")
    open_chat(small, "Otto")
    write(small, "two")  # it knows the keys that there are by then
    expect_state(small, "two", "delivered")

    tablet = devices.sign_in("Otto")
    open_chat(tablet, "Nora")
    write(tablet, "from the tablet")
    for page, name in ((nora, "new-device"), (small, "new-device-320-dark")):
        expect_message(page, "from the tablet")
        expect(page.get_by_role("status").filter(has_text="Otto uses a new device.")).to_be_visible()
        assert violations(page, name) == []
    # The browser of the other device loses its keys, and makes new ones.
    forget_keys(otto, "Otto")
    open_chat(otto, "Nora")
    write(otto, "with new keys")
    for page, name in ((nora, "changed-keys"), (small, "changed-keys-320-dark")):
        expect_message(page, "with new keys")
        expect(page.get_by_role("status").filter(has_text="The keys of Otto changed.")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert violations(page, name) == []
    # Until somebody accepts it, the message itself says so too.
    warning = message(nora, "with new keys").get_by_text("Sent from a device whose security code changed")
    expect(warning).to_be_attached()
    nora.get_by_role("status").filter(has_text="The keys of Otto changed.").get_by_role(
        "button", name="Compare"
    ).click()
    dialog = nora.get_by_role("dialog", name="About this conversation")
    expect(dialog.locator(".safety-number")).to_be_visible()
    assert violations(nora, "safety-number") == []
    assert devices.faults == []


def test_from_right_to_left(devices: Devices) -> None:
    if not AXE.exists():
        pytest.skip("sdk/ is not installed: run `npm ci` there (script/test does)")
    pina = devices.sign_in("Pina")
    rami = devices.new()
    page = rami.open("/?dir=rtl")
    assert violations(page, "rtl-sign-in") == []
    page.get_by_label("Your name").fill("رامي")
    page.get_by_label("Your name").press("Enter")
    page.get_by_role("navigation").wait_for()
    open_chat(page, "Pina")
    write(page, "مرحبا، كيف حالك؟")
    write(page, "And in English.")
    pina.get_by_role("navigation").get_by_role("button", name="رامي").last.click()
    write(pina, "Fine!")
    expect_message(page, "Fine!")
    # The list is at the right, one's own messages at the left; each text keeps its own direction.
    navigation, own, other = (
        one.bounding_box() for one in (page.get_by_role("navigation"), message(page, "مرحبا"), message(page, "Fine!"))
    )
    assert navigation["x"] > own["x"]
    bubbles = [message(page, text).locator(".wh-bubble").bounding_box()["x"] for text in ("مرحبا", "Fine!")]
    assert bubbles[0] < bubbles[1], (own, other)
    for text, direction in (("مرحبا", "rtl"), ("And in English.", "ltr"), ("Fine!", "ltr")):
        said = message(page, text).locator(".wh-text")
        assert said.evaluate("element => getComputedStyle(element).direction") == direction
    assert violations(page, "rtl-chat") == []
    page.get_by_role("button", name="About this conversation").last.click()
    page.get_by_role("dialog").locator(".safety-number").wait_for()
    assert violations(page, "rtl-about") == []
    page.get_by_role("button", name="Close").click()
    message(page, "Fine!").hover()
    message(page, "Fine!").get_by_role("button", name="Message actions").click()
    assert violations(page, "rtl-menu") == []
    page.keyboard.press("Escape")
    page.set_viewport_size(PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    assert violations(page, "rtl-phone") == []
    page.get_by_role("button", name="Back to the list").click()
    expect(page.get_by_role("navigation")).to_be_visible()
    assert violations(page, "rtl-phone-list") == []
    assert devices.faults == []


@pytest.mark.parametrize("width", [320, 360, 400])
def test_nothing_is_cut_off_at_this_width(devices: Devices, width: int) -> None:
    name = {320: "Sami", 360: "Tara", 400: "Ulla"}[width]
    one = devices.new(viewport={"width": width, "height": 640}, locale="fr-FR", has_touch=True, is_mobile=True)
    page = one.sign_in(name, label="Votre nom")
    other = f"{name} au nom très long et composé"
    devices.server.sign_in(other)
    page.get_by_role("button", name=re.compile(other)).click()
    write(page, "un mot sans fin " + "m" * 200)
    expect_message(page, "un mot")

    def fits() -> None:
        assert page.evaluate("document.documentElement.scrollWidth") == width
        # Nothing that one can press lies outside of the window.
        outside = page.evaluate(
            """() => [...document.querySelectorAll("button, input:not([hidden]), select, textarea, a")]
              .map((one) => [one.getAttribute("aria-label") ?? one.innerText, one.getBoundingClientRect()])
              .filter(([, { left, right, width }]) => width > 1 && (left < -1 || right > innerWidth + 1))
              .map(([name]) => name)"""
        )
        assert outside == []

    fits()
    for opens in ("À propos de cette conversation", "Réglages", "Nouveau groupe"):
        if opens == "Réglages":
            page.get_by_role("button", name="Retour à la liste").click()
            fits()
        page.get_by_role("button", name=opens).last.click()
        page.get_by_role("dialog").wait_for()
        fits()
        page.get_by_role("button", name="Fermer").click()
    assert devices.faults == []


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
