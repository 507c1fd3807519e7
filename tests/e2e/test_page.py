"""The web client at `/` in a real browser: two people, their devices, and the state of each message."""

import base64
import re

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
    make_group,
    message,
    open_chat,
    remove_other_device,
    texts,
    write,
)

pytestmark = [pytest.mark.browser]

HOSTILE = '<script>document.title="owned"</script><img src=x onerror=\'document.title="owned"\'>'
CANARY = "canary-8c1f2b7e"


def test_two_names_in_two_tabs_see_the_states_change(devices: Devices) -> None:
    browser = devices.new()
    amy = browser.sign_in("Amy")
    browser.page = browser.context.new_page()
    ben = browser.sign_in("Ben")
    open_chat(amy, "Ben")
    write(amy, "Hello Ben")
    # Ben's tab holds it, but he has not looked.
    expect_state(amy, "Hello Ben", "delivered")
    expect(ben.get_by_role("navigation").get_by_text("1 unread message")).to_be_attached()
    open_chat(ben, "Amy")
    expect_message(ben, "Hello Ben")
    expect(ben.get_by_text("New messages", exact=True)).to_be_visible()
    expect_state(amy, "Hello Ben", "read")
    expect(ben.get_by_role("navigation").get_by_text("unread message")).to_have_count(0)

    write(ben, "Hello Amy")
    expect_state(ben, "Hello Amy", "read")
    expect_message(amy, "Hello Amy")
    expect(amy.get_by_text("History verified")).to_be_visible()

    # A tab stays who it is over a reload, and this browser can go on as it later.
    ben.reload()
    expect_message(ben, "Hello Ben")
    ben.get_by_role("button", name="Settings").click()
    ben.get_by_role("button", name="Sign out", exact=True).click()
    ben.get_by_role("button", name="Continue as Ben").click()
    open_chat(ben, "Amy")
    expect_message(ben, "Hello Ben")
    assert devices.faults == []


def test_what_one_can_do_with_a_message(devices: Devices) -> None:
    cleo, dan = devices.sign_in("Cleo"), devices.sign_in("Dan")
    open_chat(cleo, "Dan")
    write(cleo, "The first one")
    write(cleo, "A mistkae")
    open_chat(dan, "Cleo")
    expect_message(dan, "A mistkae")

    composer(cleo).press("ArrowUp")
    expect(composer(cleo)).to_have_value("A mistkae")
    write(cleo, "A correction")
    expect_message(dan, "A correction")
    expect(message(dan, "A correction")).to_contain_text("edited")

    # Its ten seconds run while the others are tried.
    cleo.get_by_role("button", name="Vanishing messages").click()
    cleo.get_by_role("radio", name="10 seconds").check()
    cleo.keyboard.press("Escape")
    write(cleo, "Soon gone")
    cleo.get_by_role("button", name="Vanishing messages").click()
    cleo.get_by_role("radio", name="Off").check()
    cleo.keyboard.press("Escape")
    expect(message(dan, "Soon gone").get_by_role("timer")).to_be_visible()

    act(dan, "The first one", "Reply")
    write(dan, "An answer")
    expect(
        message(cleo, "An answer").get_by_role("button", name=re.compile(r"In reply to You ?: The first one"))
    ).to_be_visible()
    act(cleo, "An answer", "React 👍")
    expect(message(dan, "An answer").get_by_role("button", name=re.compile("👍 1 reaction$"))).to_be_visible()

    act(cleo, "A correction", "Delete for everyone")
    expect(log(dan).get_by_text("This message was deleted")).to_be_visible()
    act(dan, "The first one", "Delete for me")
    expect(message(dan, "The first one")).to_have_count(0)
    expect_message(cleo, "The first one")

    act(cleo, "The first one", "Details")
    dialog = cleo.get_by_role("dialog", name="Message details")
    expect(dialog.get_by_role("listitem").filter(has_text="Dan").first).to_contain_text("Read")
    expect(dialog.get_by_text("Stored in the database")).to_be_visible()
    expect(dialog.get_by_text("End-to-end encrypted, signature checked")).to_be_visible()
    dialog.get_by_role("button", name="Close").click()

    expect(log(dan).get_by_text("This message has expired")).to_be_visible(timeout=20_000)
    expect(message(dan, "Soon gone")).to_have_count(0)
    assert devices.faults == []


def test_two_devices_each(devices: Devices) -> None:
    eva, finn = devices.sign_in("Eva"), devices.sign_in("Finn")
    laptop, phone = devices.sign_in("Eva"), devices.sign_in("Finn", viewport={"width": 390, "height": 844})
    open_chat(eva, "Finn")
    write(eva, "To all your devices")
    for page, name in ((finn, "Eva"), (phone, "Eva"), (laptop, "Finn")):
        open_chat(page, name)
        expect_message(page, "To all your devices")
    write(phone, "From the phone")
    for page in (eva, laptop, finn):
        expect_message(page, "From the phone")
    expect_state(finn, "From the phone", "read")

    # A draft follows its author to the other device.
    composer(laptop).fill("half a sente")
    expect(composer(eva)).to_have_value("half a sente")

    # Both see the same safety number.
    numbers = []
    for page in (eva, finn):
        page.get_by_role("button", name="About this conversation").last.click()
        number = page.get_by_role("dialog").locator(".safety-number")
        number.wait_for()
        numbers.append(number.inner_text())
        page.get_by_role("button", name="Close").click()
    assert re.fullmatch(r"(\d{5}\s*){12}", numbers[0]), numbers
    assert numbers[0] == numbers[1]

    remove_other_device(eva, laptop)
    assert devices.faults == []


def test_a_group(devices: Devices) -> None:
    gus, hana, ivo = (devices.sign_in(name) for name in ("Gus", "Hana", "Ivo"))
    make_group(gus, "Sunday walk", "Hana")
    write(gus, "Before Ivo")
    open_chat(hana, "Sunday walk")
    expect_message(hana, "Before Ivo")

    gus.get_by_role("button", name="About this conversation").last.click()
    gus.get_by_role("button", name="Add people").click()
    gus.get_by_role("checkbox", name="Ivo").check()
    gus.get_by_role("button", name="Add", exact=True).click()
    expect(gus.get_by_role("button", name="Menu: Ivo")).to_be_visible()
    gus.get_by_role("button", name="Menu: Ivo").click()
    gus.get_by_role("menuitem", name="Make admin").click()
    expect(gus.get_by_role("dialog").get_by_text("Admin")).to_be_visible()
    gus.get_by_role("button", name="Close").click()
    write(gus, "Welcome Ivo")
    open_chat(ivo, "Sunday walk")
    expect_message(ivo, "Welcome Ivo")
    expect(message(ivo, "Before Ivo")).to_have_count(0)
    expect(log(hana).get_by_text("Gus added Ivo")).to_be_visible()

    ivo.get_by_role("button", name="About this conversation").last.click()
    ivo.once("dialog", lambda dialog: dialog.accept())
    ivo.get_by_role("button", name="Leave the group").click()
    expect(log(hana).get_by_text("Ivo left")).to_be_visible()
    write(hana, "Without Ivo")
    expect_message(gus, "Without Ivo")
    assert devices.faults == []


def test_the_server_never_sees_what_is_written(devices: Devices) -> None:
    jana, karl = devices.sign_in("Jana"), devices.sign_in("Karl")
    open_chat(jana, "Karl")
    write(jana, CANARY)
    open_chat(karl, "Jana")
    expect_message(karl, CANARY)
    act(karl, CANARY, "Reply")
    write(karl, f"{CANARY} answered")
    expect_message(jana, f"{CANARY} answered")
    composer(jana).press("ArrowUp")
    write(jana, f"{CANARY} edited")
    expect_message(karl, f"{CANARY} edited")
    jana.locator("input[type=file]").set_input_files(
        {"name": f"{CANARY}.txt", "mimeType": "text/plain", "buffer": CANARY.encode() * 20}
    )
    write(jana, "with a file")
    expect(message(karl, "with a file").get_by_role("button", name=f"Download {CANARY}.txt")).to_be_visible()
    with karl.expect_download() as download:
        message(karl, "with a file").get_by_role("button", name=f"Download {CANARY}.txt").click()
    assert download.value.path().read_bytes() == CANARY.encode() * 20
    composer(jana).fill(f"{CANARY} drafted")
    jana.wait_for_timeout(2_500)  # a draft is saved a second after the last key
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
    lena, eve = devices.sign_in("Lena"), devices.sign_in(name)
    eve.get_by_role("navigation").get_by_role("button", name="Lena").click()
    write(eve, HOSTILE)
    lena.get_by_role("navigation").get_by_role("button", name=name).click()
    expect(log(lena).get_by_text(HOSTILE)).to_be_visible()
    expect(lena.get_by_role("heading", level=1, name=name)).to_be_visible()
    for page in (lena, eve):
        assert page.title() != "owned"
        assert page.locator("#root script, #root img").count() == 0
    assert devices.faults == []


def test_the_page_says_what_it_may_load(devices: Devices) -> None:
    device = devices.new()
    response = device.page.goto("/")
    assert response.status == 200
    policy = response.headers["content-security-policy"]
    assert policy.startswith("default-src 'self'; connect-src 'self' ws: wss:;")
    assert "'unsafe" not in policy
    assert response.headers["cache-control"] == "no-cache"
    notices = device.context.request.get("/static/web/THIRD_PARTY_LICENSES.txt").text()
    assert "react-virtuoso" in notices


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
