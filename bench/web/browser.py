"""Chromium with one person in it, seen through bench/web/probes.js."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from playwright.async_api import Browser, BrowserContext, CDPSession, ConsoleMessage, Page, async_playwright

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
PROBES = (Path(__file__).parent / "probes.js").read_text()
# Whatever is measured takes seconds; a step that takes longer than this is a fault of its own.
STEP_MS = 60_000
WHEEL_PX = 400
FRAME_SECONDS = 0.016
KEY_SECONDS = 0.25


@dataclass
class Person:
    """A device of somebody: a browser context, whose storage outlives its pages."""

    context: BrowserContext
    name: str
    faults: list[str] = field(default_factory=list)

    async def first_visit(self) -> UUID:
        """Sign in, wait until the device is registered with its keys, and leave. The device's id."""
        async with self.page() as page:
            await page.goto("/")
            await page.get_by_label("Your name").fill(self.name)
            async with page.expect_response(lambda answer: answer.url.endswith("/api/v1/devices") and answer.ok):
                await page.get_by_label("Your name").press("Enter")
            accounts = await page.evaluate("JSON.parse(localStorage.getItem('whispr.accounts'))")
        return UUID(accounts[0]["deviceId"])

    @contextlib.asynccontextmanager
    async def page(self) -> AsyncIterator[Page]:
        """A new page of this person's, with the probes in it."""
        page = await self.context.new_page()
        page.on("pageerror", lambda error: self.faults.append(f"the page: {error}"))
        page.on("console", self._note)
        try:
            yield page
        finally:
            await page.close()

    def _note(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.faults.append(f"the page's console: {message.text}")

    async def come_back(self, page: Page) -> float:
        """Sign in as the device that this browser was before; when the button was pressed."""
        await page.goto("/")
        await page.get_by_role("button", name=f"Continue as {self.name}").click()
        return await number(page, "probe.clicked")


@contextlib.asynccontextmanager
async def chromium(executable: str) -> AsyncIterator[Browser]:
    """A browser of our own, gone at the end."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable, args=FLAGS)
        try:
            yield browser
        finally:
            await browser.close()


async def person(browser: Browser, url: str, name: str) -> Person:
    """Somebody whom this server has not met, at a browser that was never used."""
    context = await browser.new_context(base_url=url, viewport={"width": 1280, "height": 800}, locale="en")
    context.set_default_timeout(STEP_MS)
    await context.add_init_script(PROBES)
    return Person(context, name)


async def number(page: Page, expression: str) -> float:
    """A number that the page knows."""
    return float(await page.evaluate(expression))


async def until(page: Page, *names: str) -> None:
    """Wait until all of this is on the page (`looks` in the probes). Raises TimeoutError."""
    looks = ", ".join(f"probe.until('{name}')" for name in names)
    async with asyncio.timeout(STEP_MS / 1_000):
        await page.evaluate(f"Promise.all([{looks}])")


async def heap_mib(page: Page) -> float:
    """What the page's scripts hold, after a collection."""
    session: CDPSession = await page.context.new_cdp_session(page)
    await session.send("HeapProfiler.collectGarbage")
    usage: dict[str, Any] = await session.send("Runtime.getHeapUsage")
    await session.detach()
    return float(usage["usedSize"]) / 2**20


async def type_until(page: Page, done: asyncio.Event) -> None:
    """Press a key four times a second where the focus is."""
    letters = 0
    while not done.is_set():
        letters += 1
        await page.keyboard.press("Space" if letters % 6 == 0 else "n")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(done.wait(), KEY_SECONDS)


async def scroll(page: Page, seconds: float, by_px: int) -> list[float]:
    """Turn the wheel over the messages; the time that each frame took, in ms."""
    await page.locator("[data-virtuoso-scroller]").hover()
    await page.evaluate("probe.watchFrames()")
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while loop.time() < until:
        await page.mouse.wheel(0, by_px)
        await asyncio.sleep(FRAME_SECONDS)
    return [float(frame) for frame in await page.evaluate("probe.takeFrames()")]
