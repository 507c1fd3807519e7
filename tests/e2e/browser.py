"""Chromium for the tests of the web client: people, each in a browser context with storage of its own."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
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
# A step needs milliseconds alone; tests share two cores with servers and other browsers.
STEP_MS = 20_000
sync_api.expect.set_options(timeout=STEP_MS)


class Device:
    """One person's device: a browser context, its page, and everything that went wrong in it."""

    def __init__(self, browser: Any, server: Server, **options: Any) -> None:
        self.context = browser.new_context(base_url=server.url, **options)
        self.context.set_default_timeout(STEP_MS)
        self.faults: list[str] = []
        self.context.on("page", self._watch)
        self.page = self.context.new_page()

    def _watch(self, page: Any) -> None:
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("console", lambda message: self._note(message) if message.type == "error" else None)

    def _note(self, message: Any) -> None:
        # A browser writes every failed request there, those while a server is away among them.
        if "Failed to load resource" not in message.text and "WebSocket connection to" not in message.text:
            self.faults.append(message.text)

    def open(self, path: str = "/") -> Any:
        """The page at a path."""
        self.page.goto(path)
        return self.page

    def sign_in(self, name: str, label: str = "Your name") -> Any:
        """The page of somebody who is signed in and sees the list."""
        page = self.open()
        page.get_by_label(label).fill(name)
        page.get_by_label(label).press("Enter")
        page.get_by_role("navigation").wait_for()
        return page

    def close(self) -> None:
        """Let go of the browser context."""
        self.context.close()


class Devices:
    """All devices of one test against one server."""

    def __init__(self, browser: Any, server: Server) -> None:
        self.browser = browser
        self.server = server
        self.all: list[Device] = []

    def new(self, **options: Any) -> Device:
        """A device that nobody signed in on."""
        device = Device(self.browser, self.server, **options)
        self.all.append(device)
        return device

    def sign_in(self, name: str, **options: Any) -> Any:
        """The page of a new device of the person of this name."""
        return self.new(**options).sign_in(name)

    @property
    def faults(self) -> list[str]:
        """What the pages complained of."""
        return [fault for device in self.all for fault in device.faults]

    def close(self) -> None:
        """Let go of all."""
        for device in self.all:
            device.close()


def expect(locator: Any) -> Any:
    """Playwright's assertions, with the time of a step."""
    return sync_api.expect(locator)


def composer(page: Any) -> Any:
    """The field in which one writes."""
    return page.get_by_role("textbox", name="Message", exact=True)


def write(page: Any, text: str) -> None:
    """Write a message and send it with Enter."""
    composer(page).fill(text)
    composer(page).press("Enter")


def log(page: Any) -> Any:
    """The list of messages."""
    return page.get_by_role("log")


def message(page: Any, text: str) -> Any:
    """The message that says this."""
    said = page.locator(".wh-text").filter(has_text=text)
    return log(page).get_by_role("article").filter(has=said)


def expect_message(page: Any, text: str) -> None:
    """Wait until a message is in view."""
    expect(message(page, text).last).to_be_visible(timeout=STEP_MS)


def expect_state(page: Any, text: str, state: str) -> None:
    """Wait until one's own message has a state."""
    expect(message(page, text).last.locator("[data-status]")).to_have_attribute("data-status", state)


def texts(page: Any) -> list[str]:
    """What the messages in view say, from the top."""
    return [str(text) for text in log(page).locator("article .wh-text").all_inner_texts()]


def open_chat(page: Any, name: str) -> None:
    """Open the conversation with a person, or begin one."""
    # By its beginning: what somebody else said last is in a row too.
    page.get_by_role("navigation").get_by_role("button", name=re.compile(rf"^{re.escape(name)}\b")).last.click()
    page.get_by_role("heading", level=1, name=name).wait_for()
    expect(composer(page)).to_be_enabled(timeout=STEP_MS)


def act(page: Any, text: str, action: str) -> None:
    """Choose something from a message's menu."""
    one = message(page, text).last
    one.hover()
    one.get_by_role("button", name="Message actions").click()
    menu = page.get_by_role("menu")
    one_of = menu.get_by_role("menuitem", name=action, exact=True)
    one_of.or_(menu.get_by_role("menuitemcheckbox", name=action, exact=True)).click()


def make_group(page: Any, name: str, *people: str) -> None:
    """Make a group with these people, and open it."""
    page.get_by_role("button", name="New group").click()
    page.get_by_label("Name of the group").fill(name)
    for person in people:
        page.get_by_role("checkbox", name=person).check()
    page.get_by_role("button", name="Create", exact=True).click()
    page.get_by_role("heading", level=1, name=name).wait_for()


@contextmanager
def settings(page: Any) -> Iterator[Any]:
    """The dialog of the settings, closed at the end."""
    page.get_by_role("button", name="Settings").click()
    yield page.get_by_role("dialog")
    page.get_by_role("button", name="Close").click()


def remove_other_device(page: Any, removed: Any) -> None:
    """Remove a person's other device, whose page is `removed`: it is out at once."""
    with settings(page) as dialog:
        page.once("dialog", lambda question: question.accept())
        dialog.get_by_role("button", name="Remove").first.click()
        expect(removed.get_by_text("This device was removed from the account.")).to_be_visible()


def forget_keys(page: Any, name: str) -> None:
    """Let this browser lose what it stored of the device that it is, and sign in as the same device again."""
    page.get_by_role("button", name="Settings").click()
    page.get_by_role("button", name="Sign out", exact=True).click()
    again = page.get_by_role("button", name=f"Continue as {name}")
    again.wait_for()
    page.evaluate(
        """async () => {
          for (const { name } of await indexedDB.databases()) {
            await new Promise((done, failed) => {
              const request = indexedDB.deleteDatabase(name);
              request.onsuccess = done;
              request.onerror = request.onblocked = failed;
            });
          }
        }"""
    )
    again.click()
    page.get_by_role("navigation").wait_for()
