"""The page at `/` in a real browser: two people in two tabs, and the state of each message."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.server import Server

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (requirements-dev.txt)")

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
HOSTILE = '<script>document.title="owned"</script><img src=x onerror=\'document.title="owned"\'>'

pytestmark = [pytest.mark.browser]


@pytest.fixture
def browser(start: Callable[..., Server]) -> Iterator[Any]:
    """Chromium, for one test: while Playwright's loop runs in this thread, Django refuses to empty the database."""
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM}: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield browser
        browser.close()


class Tabs:
    """Tabs of one browser, and everything that went wrong in any of them."""

    def __init__(self, browser: Any, server: Server, **options: Any) -> None:
        self.server = server
        self.context = browser.new_context(base_url=server.url, **options)
        self.context.set_default_timeout(15_000)
        self.faults: list[str] = []
        self.context.on("page", self._watch)

    def _watch(self, page: Any) -> None:
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("console", lambda message: self.faults.append(message.text) if message.type == "error" else None)

    def open(self, path: str = "/") -> Any:
        page = self.context.new_page()
        page.goto(path)
        return page

    def sign_in(self, name: str) -> Any:
        page = self.open()
        page.get_by_label("Your name").fill(name)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_text("Connected", exact=True).wait_for()
        return page


@pytest.fixture
def tabs(browser: Any, start: Callable[..., Server]) -> Iterator[Tabs]:
    tabs = Tabs(browser, start())
    yield tabs
    tabs.context.close()


def write(page: Any, text: str) -> None:
    page.get_by_label("Message", exact=True).fill(text)
    page.get_by_label("Message", exact=True).press("Enter")


def own(page: Any, text: str) -> Any:
    """One of one's own messages."""
    return page.locator("article.own", has_text=text)


def expect_state(page: Any, text: str, word: str) -> None:
    sync_api.expect(own(page, text).locator(".state")).to_have_text(word, timeout=15_000)


def open_chat(page: Any, name: str) -> None:
    page.get_by_role("navigation").get_by_role("button", name=re.compile(rf"\b{name}\b")).click()
    page.get_by_role("heading", name=name).wait_for()


def test_two_people_see_the_states_change(tabs: Tabs) -> None:
    ada, bob = tabs.sign_in("Ada"), tabs.sign_in("Bob")
    open_chat(ada, "Bob")
    write(ada, "Hello Bob")
    # Bob's tab holds it, but he has not looked.
    expect_state(ada, "Hello Bob", "Delivered")
    sync_api.expect(bob.get_by_role("navigation").get_by_text("1 unread")).to_be_attached()
    open_chat(bob, "Ada")
    sync_api.expect(bob.get_by_role("log").get_by_text("Hello Bob")).to_be_visible()
    expect_state(ada, "Hello Bob", "Read")
    sync_api.expect(bob.get_by_text("unread")).to_have_count(0)

    write(bob, "Hello Ada")
    expect_state(bob, "Hello Ada", "Read")
    sync_api.expect(ada.get_by_role("log").get_by_text("Hello Ada")).to_be_visible()
    assert tabs.faults == []


def test_a_tab_is_a_person_who_stays(tabs: Tabs) -> None:
    ada, bob = tabs.sign_in("Ada"), tabs.sign_in("Bob")
    open_chat(ada, "Bob")
    write(ada, "before the reload")
    expect_state(ada, "before the reload", "Delivered")
    ada.reload()
    ada.get_by_text("Connected", exact=True).wait_for()
    sync_api.expect(ada.locator(".me")).to_contain_text("Ada")
    sync_api.expect(bob.locator(".me")).to_contain_text("Bob")
    open_chat(ada, "Bob")
    expect_state(ada, "before the reload", "Delivered")
    ada.get_by_role("button", name="Sign out").click()
    ada.get_by_label("Your name").wait_for()
    assert tabs.faults == []


def test_the_second_person_is_one_click(tabs: Tabs) -> None:
    ada = tabs.sign_in("Ada")
    with tabs.context.expect_page() as opened:
        ada.get_by_role("link", name="Open a second person").click()
    second = opened.value
    second.get_by_text("Connected", exact=True).wait_for()
    second.get_by_role("heading", name="Ada").wait_for()
    sync_api.expect(second.locator(".me")).not_to_contain_text("Ada")
    write(second, "Here I am")
    open_chat(ada, "Grace")
    sync_api.expect(ada.get_by_role("log").get_by_text("Here I am")).to_be_visible()
    expect_state(second, "Here I am", "Read")
    assert tabs.faults == []


def test_names_and_texts_are_never_markup(tabs: Tabs) -> None:
    name = "<script>alert(1)</script>"
    ada, eve = tabs.sign_in("Ada"), tabs.sign_in(name)
    eve.get_by_role("navigation").get_by_role("button", name="Ada").click()
    write(eve, HOSTILE)
    ada.get_by_role("navigation").get_by_role("button", name=name).click()
    sync_api.expect(ada.get_by_role("log").get_by_text(HOSTILE)).to_be_visible()
    sync_api.expect(ada.get_by_role("heading", name=name)).to_be_visible()
    for page in (ada, eve):
        assert page.title() != "owned"
        assert page.locator("#root script, #root img").count() == 0
    assert tabs.faults == []


def test_a_message_written_while_the_server_is_away_is_sent_once(tabs: Tabs) -> None:
    ada, bob = tabs.sign_in("Ada"), tabs.sign_in("Bob")
    open_chat(ada, "Bob")
    open_chat(bob, "Ada")
    write(ada, "first")
    expect_state(ada, "first", "Read")
    tabs.server.kill()
    ada.get_by_text("No connection.").wait_for()
    write(ada, "second")
    write(ada, "third")
    expect_state(ada, "second", "Sending")
    tabs.server.start()
    for text in ("second", "third"):
        expect_state(ada, text, "Read")
    sync_api.expect(ada.get_by_text("No connection.")).to_have_count(0)
    log = bob.get_by_role("log").locator("article .text")
    sync_api.expect(log).to_have_text(["first", "second", "third"])
    sync_api.expect(ada.get_by_role("log").locator("article .text")).to_have_text(["first", "second", "third"])


def test_a_phone_shows_one_side_at_a_time(browser: Any, start: Callable[..., Server]) -> None:
    tabs = Tabs(browser, start(), viewport={"width": 360, "height": 720}, color_scheme="dark")
    try:
        tabs.sign_in("Bob")
        ada = tabs.sign_in("Ada")
        sync_api.expect(ada.get_by_role("main")).to_be_hidden()
        open_chat(ada, "Bob")
        sync_api.expect(ada.get_by_role("navigation")).to_be_hidden()
        write(ada, "a word without an end " + "m" * 300)
        expect_state(ada, "a word", "Delivered")
        assert ada.evaluate("document.documentElement.scrollWidth") == 360
        ada.get_by_role("button", name="Back to the list").click()
        sync_api.expect(ada.get_by_role("navigation")).to_be_visible()
        assert tabs.faults == []
    finally:
        tabs.context.close()


def test_the_page_says_what_it_may_load(start: Callable[..., Server], browser: Any) -> None:
    context = browser.new_context()
    try:
        response = context.new_page().goto(start().url)
        assert response.status == 200
        assert response.headers["content-security-policy"].startswith(
            "default-src 'self'; connect-src 'self' ws: wss:;"
        )
        assert response.headers["cache-control"] == "no-cache"
    finally:
        context.close()
