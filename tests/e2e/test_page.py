"""The web client at `/` in a real browser: two people, their devices, and the state of each message."""

import base64
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection

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
    texts,
    write,
)
from tests.e2e.server import Server

pytestmark = [pytest.mark.browser]

HOSTILE = '<script>document.title="owned"</script><img src=x onerror=\'document.title="owned"\'>'
CANARY = "canary-8c1f2b7e"


@pytest.fixture
def devices(browser: Any, start: Callable[..., Server]) -> Iterator[Devices]:
    devices = Devices(browser, start(env={"WHISPR_HASH_CHAIN": "1"}))
    yield devices
    devices.close()


def test_two_names_in_two_tabs_see_the_states_change(devices: Devices) -> None:
    browser = devices.new()
    ann = browser.sign_in("Ann")
    browser.page = browser.context.new_page()
    bob = browser.sign_in("Bob")
    open_chat(ann, "Bob")
    write(ann, "Hello Bob")
    # Bob's tab holds it, but he has not looked.
    expect_state(ann, "Hello Bob", "delivered")
    expect(bob.get_by_role("navigation").get_by_text("1 unread message")).to_be_attached()
    open_chat(bob, "Ann")
    expect_message(bob, "Hello Bob")
    expect(bob.get_by_text("New messages", exact=True)).to_be_visible()
    expect_state(ann, "Hello Bob", "read")
    expect(bob.get_by_role("navigation").get_by_text("unread message")).to_have_count(0)

    write(bob, "Hello Ann")
    expect_state(bob, "Hello Ann", "read")
    expect_message(ann, "Hello Ann")
    expect(ann.get_by_text("History verified")).to_be_visible()

    # A tab stays who it is over a reload, and this browser can go on as it later.
    bob.reload()
    expect_message(bob, "Hello Bob")
    bob.get_by_role("button", name="Settings").click()
    bob.get_by_role("button", name="Sign out", exact=True).click()
    bob.get_by_role("button", name="Continue as Bob").click()
    open_chat(bob, "Ann")
    expect_message(bob, "Hello Bob")
    assert devices.faults == []


def test_what_one_can_do_with_a_message(devices: Devices) -> None:
    ann, bob = devices.sign_in("Ann"), devices.sign_in("Bob")
    open_chat(ann, "Bob")
    write(ann, "The first one")
    write(ann, "A mistkae")
    open_chat(bob, "Ann")
    expect_message(bob, "A mistkae")

    composer(ann).press("ArrowUp")
    expect(composer(ann)).to_have_value("A mistkae")
    write(ann, "A correction")
    expect_message(bob, "A correction")
    expect(message(bob, "A correction")).to_contain_text("edited")

    act(bob, "The first one", "Reply")
    write(bob, "An answer")
    expect(
        message(ann, "An answer").get_by_role("button", name=re.compile(r"In reply to You ?: The first one"))
    ).to_be_visible()
    act(ann, "An answer", "React 👍")
    expect(message(bob, "An answer").get_by_role("button", name=re.compile("👍 1 reaction$"))).to_be_visible()

    act(ann, "A correction", "Delete for everyone")
    expect(log(bob).get_by_text("This message was deleted")).to_be_visible()
    act(bob, "The first one", "Delete for me")
    expect(message(bob, "The first one")).to_have_count(0)
    expect_message(ann, "The first one")

    act(ann, "The first one", "Details")
    dialog = ann.get_by_role("dialog", name="Message details")
    expect(dialog.get_by_role("listitem").filter(has_text="Bob").first).to_contain_text("Read")
    expect(dialog.get_by_text("Stored in the database")).to_be_visible()
    expect(dialog.get_by_text("End-to-end encrypted, signature checked")).to_be_visible()
    dialog.get_by_role("button", name="Close").click()

    ann.get_by_role("button", name="Vanishing messages").click()
    ann.get_by_role("radio", name="10 seconds").check()
    ann.keyboard.press("Escape")
    write(ann, "Soon gone")
    expect(message(bob, "Soon gone").get_by_role("timer")).to_be_visible()
    expect(log(bob).get_by_text("This message has expired")).to_be_visible(timeout=20_000)
    expect(message(bob, "Soon gone")).to_have_count(0)
    assert devices.faults == []


def test_two_devices_each(devices: Devices) -> None:
    ann, bob = devices.sign_in("Ann"), devices.sign_in("Bob")
    laptop, phone = devices.sign_in("Ann"), devices.sign_in("Bob", viewport={"width": 390, "height": 844})
    open_chat(ann, "Bob")
    write(ann, "To all your devices")
    for page, name in ((bob, "Ann"), (phone, "Ann"), (laptop, "Bob")):
        open_chat(page, name)
        expect_message(page, "To all your devices")
    write(phone, "From the phone")
    for page in (ann, laptop, bob):
        expect_message(page, "From the phone")
    expect_state(bob, "From the phone", "read")

    # A draft follows its author to the other device.
    composer(laptop).fill("half a sente")
    expect(composer(ann)).to_have_value("half a sente")

    # Both see the same safety number.
    numbers = []
    for page in (ann, bob):
        page.get_by_role("button", name="About this conversation").last.click()
        number = page.get_by_role("dialog").locator(".safety-number")
        number.wait_for()
        numbers.append(number.inner_text())
        page.get_by_role("button", name="Close").click()
    assert re.fullmatch(r"(\d{5}\s*){12}", numbers[0]), numbers
    assert numbers[0] == numbers[1]

    # A removed device is out at once.
    ann.get_by_role("button", name="Settings").click()
    ann.once("dialog", lambda dialog: dialog.accept())
    ann.get_by_role("dialog").get_by_role("button", name="Remove").first.click()
    expect(laptop.get_by_text("This device was removed from the account.")).to_be_visible()
    assert devices.faults == []


def test_a_group(devices: Devices) -> None:
    ann, bob, cara = (devices.sign_in(name) for name in ("Ann", "Bob", "Cara"))
    ann.get_by_role("button", name="New group").click()
    ann.get_by_label("Name of the group").fill("Sunday walk")
    ann.get_by_role("checkbox", name="Bob").check()
    ann.get_by_role("button", name="Create", exact=True).click()
    ann.get_by_role("heading", level=1, name="Sunday walk").wait_for()
    write(ann, "Before Cara")
    open_chat(bob, "Sunday walk")
    expect_message(bob, "Before Cara")

    ann.get_by_role("button", name="About this conversation").last.click()
    ann.get_by_role("button", name="Add people").click()
    ann.get_by_role("checkbox", name="Cara").check()
    ann.get_by_role("button", name="Add", exact=True).click()
    expect(ann.get_by_role("button", name="Menu: Cara")).to_be_visible()
    ann.get_by_role("button", name="Menu: Cara").click()
    ann.get_by_role("menuitem", name="Make admin").click()
    expect(ann.get_by_role("dialog").get_by_text("Admin")).to_be_visible()
    ann.get_by_role("button", name="Close").click()
    write(ann, "Welcome Cara")
    open_chat(cara, "Sunday walk")
    expect_message(cara, "Welcome Cara")
    expect(message(cara, "Before Cara")).to_have_count(0)
    expect(log(bob).get_by_text("Ann added Cara")).to_be_visible()

    cara.get_by_role("button", name="About this conversation").last.click()
    cara.once("dialog", lambda dialog: dialog.accept())
    cara.get_by_role("button", name="Leave the group").click()
    expect(log(bob).get_by_text("Cara left")).to_be_visible()
    write(bob, "Without Cara")
    expect_message(ann, "Without Cara")
    assert devices.faults == []


def test_the_server_never_sees_what_is_written(devices: Devices) -> None:
    ann, bob = devices.sign_in("Ann"), devices.sign_in("Bob")
    open_chat(ann, "Bob")
    write(ann, CANARY)
    open_chat(bob, "Ann")
    expect_message(bob, CANARY)
    act(bob, CANARY, "Reply")
    write(bob, f"{CANARY} answered")
    expect_message(ann, f"{CANARY} answered")
    composer(ann).press("ArrowUp")
    write(ann, f"{CANARY} edited")
    expect_message(bob, f"{CANARY} edited")
    ann.locator("input[type=file]").set_input_files(
        {"name": f"{CANARY}.txt", "mimeType": "text/plain", "buffer": CANARY.encode() * 20}
    )
    write(ann, "with a file")
    expect(message(bob, "with a file").get_by_role("button", name=f"Download {CANARY}.txt")).to_be_visible()
    with bob.expect_download() as download:
        message(bob, "with a file").get_by_role("button", name=f"Download {CANARY}.txt").click()
    assert download.value.path().read_bytes() == CANARY.encode() * 20
    composer(ann).fill(f"{CANARY} drafted")
    ann.wait_for_timeout(2_500)  # a draft is saved a second after the last key
    _assert_no_plaintext()
    assert devices.faults == []


def _assert_no_plaintext() -> None:
    """No table holds the canary, as text, as bytes, or in base64. Reads through a connection of a thread of its own:
    Django refuses the ORM where Playwright's loop runs."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        rows, found = pool.submit(_search).result()
    assert rows > 10, "there is hardly anything in the tables"
    assert found == []


def _search() -> tuple[int, list[str]]:
    # As text, as the bytes of a column, and in base64 at each of its three offsets within a text.
    encoded = [base64.b64encode(b"x" * cut + CANARY.encode())[4:-4].decode() for cut in range(3)]
    needles = [CANARY, CANARY.encode().hex(), *encoded]
    rows, found = 0, []
    with connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        for (table,) in cursor.fetchall():
            cursor.execute(f'SELECT t::text FROM "{table}" t')
            for (text,) in cursor.fetchall():
                rows += 1
                found += [f"{table}: {text[:200]}" for needle in needles if needle in text]
    connection.close()
    return rows, found


def test_names_and_texts_are_never_markup(devices: Devices) -> None:
    name = "<script>alert(1)</script>"
    ann, eve = devices.sign_in("Ann"), devices.sign_in(name)
    eve.get_by_role("navigation").get_by_role("button", name="Ann").click()
    write(eve, HOSTILE)
    ann.get_by_role("navigation").get_by_role("button", name=name).click()
    expect(log(ann).get_by_text(HOSTILE)).to_be_visible()
    expect(ann.get_by_role("heading", level=1, name=name)).to_be_visible()
    for page in (ann, eve):
        assert page.title() != "owned"
        assert page.locator("#root script, #root img").count() == 0
    assert devices.faults == []


def test_the_page_says_what_it_may_load(start: Callable[..., Server], browser: Any) -> None:
    context = browser.new_context()
    try:
        server = start()
        response = context.new_page().goto(server.url)
        assert response.status == 200
        policy = response.headers["content-security-policy"]
        assert policy.startswith("default-src 'self'; connect-src 'self' ws: wss:;")
        assert "'unsafe" not in policy
        assert response.headers["cache-control"] == "no-cache"
        notices = context.request.get(f"{server.url}/static/web/THIRD_PARTY_LICENSES.txt").text()
        assert "react-virtuoso" in notices
    finally:
        context.close()


def test_the_demonstration_is_one_click(devices: Devices) -> None:
    page = devices.new().open()
    page.get_by_role("link", name="Try it with two people").click()
    ann, bob = page.frame_locator("iframe[title=Ann]"), page.frame_locator("iframe[title=Bob]")
    composer(ann).fill("Left to right")
    composer(ann).press("Enter")
    expect(log(bob).get_by_text("Left to right")).to_be_visible()
    composer(bob).press_sequentially("I am wri")
    expect(log(ann).get_by_role("article")).to_have_count(1)
    expect(ann.locator(".wh-typing")).to_have_text("Bob is typing …")
    assert texts(ann) == ["Left to right"]
    assert devices.faults == []
