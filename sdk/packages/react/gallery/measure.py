"""How smoothly a long conversation scrolls: `python sdk/packages/react/gallery/measure.py [MESSAGES]`.

Builds the gallery, opens it in Chromium with so many messages (10,000), and scrolls up with the wheel for 5 seconds.
Prints the time until the list is drawn and the frames a second. Needs Node, Playwright and a Chromium.
"""

import functools
import http.server
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from playwright.sync_api import sync_playwright

HERE = Path(__file__).resolve().parent
SECONDS = 5.0
WHEEL_PX = 400
FRAMES = """
() => {
  window.frames_ = [];
  let last = performance.now();
  const tick = (now) => { window.frames_.push(now - last); last = now; window.more_ && requestAnimationFrame(tick); };
  window.more_ = true;
  requestAnimationFrame(tick);
}
"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Files, without a line for each."""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def main(messages: int) -> int:
    """Measure and print; the exit code."""
    with tempfile.TemporaryDirectory(prefix="whispr-gallery-") as place:
        build = ["npx", "vite", "build", "--config", "gallery/vite.config.ts", "--outDir", place, "--emptyOutDir"]
        subprocess.run(build, cwd=HERE.parent, check=True, capture_output=True)
        handler = functools.partial(Quiet, directory=place)
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            with sync_playwright() as playwright:
                flags = ["--headless", "--no-sandbox", "--disable-gpu"]
                browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=flags)
                page = browser.new_page(viewport={"width": 1280, "height": 800})
                page.goto(f"http://127.0.0.1:{server.server_port}/?messages={messages}")
                page.locator("article").last.wait_for()
                drawn = page.evaluate("performance.now()")
                page.locator("[data-virtuoso-scroller]").hover()
                page.evaluate(FRAMES)
                began = page.evaluate("performance.now()")
                while page.evaluate("performance.now()") - began < SECONDS * 1_000:
                    page.mouse.wheel(0, -WHEEL_PX)
                    page.wait_for_timeout(16)
                frames = page.evaluate("(window.more_ = false, window.frames_)")
                rows = page.locator("article").count()
                browser.close()
            server.shutdown()
    longest = sorted(frames)[-3:]
    slowest = ", ".join(f"{ms:.0f} ms" for ms in longest)
    sys.stdout.write(f"{messages} messages: drawn after {drawn:.0f} ms, {rows} rows in the document\n")
    sys.stdout.write(f"{len(frames) / SECONDS:.1f} frames a second; the longest took {slowest}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000))
