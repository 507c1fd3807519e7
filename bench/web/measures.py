"""What is measured of the web client: a long conversation, a long absence, a second visit (bench/README.md)."""

import asyncio

from playwright.async_api import Page

from bench.latency import spread
from bench.report import Result
from bench.target import Identity, Target
from bench.web import browser
from bench.web.browser import WHEEL_PX, Person
from bench.web.people import unacknowledged

SCROLL_SECONDS = 5.0
WHOLE_SECONDS = 90.0
ACK_SECONDS = 10.0
BEGINNING = "document.querySelector('.wh-list')?.textContent.includes('The beginning of this conversation') ?? false"


async def long_conversation(target: Target, who: Person, device: Identity, entries: int) -> Result:
    """Open a conversation, scroll through it while history is read, and through all of it when it is here."""
    result = Result("web-conversation", f"{entries} messages in one conversation")
    async with who.page() as page:
        await who.come_back(page)
        await browser.until(page, "synced")
        await _settle(target, device, result)
        await _open(page)
        clicked, shown = await browser.number(page, "probe.clicked"), await browser.number(page, "probe.shown.thread")
        result.add("open_ms", "from the click to the messages", round(shown - clicked), "ms")
        await asyncio.sleep(1.0)
        _add_frames(
            result, "up", "scrolling up, reading history", await browser.scroll(page, SCROLL_SECONDS, -WHEEL_PX)
        )
        began = asyncio.get_running_loop().time()
        while not await page.evaluate(BEGINNING):
            if asyncio.get_running_loop().time() > began + WHOLE_SECONDS:
                result.faults.append(f"the beginning was not reached in {WHOLE_SECONDS:.0f} s")
                break
            await browser.scroll(page, 0.5, -40 * WHEEL_PX)
        result.add("to_beginning_s", "then to the beginning", asyncio.get_running_loop().time() - began, "s")
        _add_frames(
            result, "down", "scrolling down, all of it here", await browser.scroll(page, SCROLL_SECONDS, WHEEL_PX)
        )
        if await page.locator(".wh-missing").count():
            result.faults.append("a message could not be read")
        result.add("rows", "rows in the document", await page.locator("article").count())
        result.add("heap_mib", "heap", await browser.heap_mib(page), "MiB")
        tasks = await page.evaluate(f"probe.between({clicked}, performance.now()).tasks")
        _add_tasks(result, "tasks", "long tasks since the click", tasks)
    result.faults += who.faults
    return result


async def catch_up(target: Target, who: Person, device: Identity, entries: int, conversations: int) -> Result:
    """Come back to so many unseen entries, open a conversation, and write in it meanwhile."""
    result = Result("web-catch-up", f"{entries} entries in {conversations} conversations")
    async with who.page() as page:
        clicked = await who.come_back(page)
        await _open(page)
        await page.get_by_role("textbox", name="Message", exact=True).click()
        done = asyncio.Event()
        typing = asyncio.create_task(browser.type_until(page, done))
        try:
            await browser.until(page, "synced")
        finally:
            done.set()
            await typing
        synced = await browser.number(page, "probe.synced")
        got = int(await browser.number(page, "probe.entries"))
        if got < entries:
            result.faults.append(f"{got} of {entries} entries were pushed")
        result.add(
            "list_ms",
            "from signing in to the list",
            round(await browser.number(page, "probe.shown.list") - clicked),
            "ms",
        )
        result.add(
            "thread_ms",
            "to an open conversation",
            round(await browser.number(page, "probe.shown.thread") - clicked),
            "ms",
        )
        result.add("sync_s", "to sync_complete", (synced - clicked) / 1_000, "s")
        result.add("entries_per_s", "entries", round(got / (synced - clicked) * 1_000), "a second")
        seen = await page.evaluate(f"probe.between({clicked}, {synced})")
        _add_tasks(result, "tasks", "long tasks meanwhile", seen["tasks"])
        result.add_spread("tick", "delay of a 100 ms timer", spread([ms / 1_000 for ms in seen["ticks"]]))
        result.add_spread("key", "from a key to its letter", spread([ms / 1_000 for ms in seen["keys"]]))
        await _settle(target, device, result)
        result.add("heap_mib", "heap", await browser.heap_mib(page), "MiB")
    result.faults += who.faults
    return result


async def second_visit(who: Person) -> Result:
    """Open a conversation, and load the page again."""
    result = Result("web-second-visit", "the page is loaded again")
    async with who.page() as page:
        await who.come_back(page)
        await browser.until(page, "synced")
        await _open(page)
        await asyncio.sleep(1.0)
        for again in (1, 2, 3):
            await page.reload()
            await browser.until(page, "list", "thread")
            for name, label in (("list", "the list"), ("thread", "the messages")):
                shown = round(await browser.number(page, f"probe.shown.{name}"))
                result.add(f"{name}_ms_{again}", f"{label}, visit {again}", shown, "ms")
    result.faults += who.faults
    return result


async def _open(page: Page) -> None:
    """Click on the first conversation, and wait until its messages are drawn."""
    await page.locator(".wh-conversation:has(time)").first.click()
    await browser.until(page, "thread")


async def _settle(target: Target, device: Identity, result: Result) -> None:
    """Wait until everything is acknowledged: what was shown and is not is a fault."""
    left = 0
    for _ in range(int(ACK_SECONDS * 5)):
        left = await asyncio.to_thread(unacknowledged, target.database_url, device)
        if left == 0:
            return
        await asyncio.sleep(0.2)
    result.faults.append(f"{left} entries were never acknowledged")


def _add_frames(result: Result, name: str, label: str, frames: list[float]) -> None:
    if not frames:
        result.faults.append(f"{label}: no frame was drawn")
        return
    a_second = 1_000 * len(frames) / sum(frames)
    slow = sum(1 for frame in frames if frame > 50)
    result.figures |= {
        f"{name}_frames_per_s": round(a_second, 1),
        f"{name}_longest_frame_ms": round(max(frames)),
        f"{name}_slow_frames": slow,
    }
    result.rows.append((label, f"{a_second:.1f} frames a second, the longest {max(frames):.0f} ms, {slow} over 50 ms"))


def _add_tasks(result: Result, name: str, label: str, tasks: list[float]) -> None:
    longest = max(tasks, default=0.0)
    result.figures |= {
        f"long_{name}": len(tasks),
        f"longest_{name}_ms": round(longest),
        f"sum_{name}_ms": round(sum(tasks)),
    }
    result.rows.append((label, f"{len(tasks)}, the longest {longest:.0f} ms, together {sum(tasks):.0f} ms"))
