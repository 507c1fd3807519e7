"""The vitest suites of sdk/ that drive a real server: started from here, with a way to kill and start it."""

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.e2e.node import SDK, node_environment, require_node
from tests.e2e.server import Server


@contextmanager
def control(server: Server) -> Iterator[str]:
    """An address where the tests in Node ask for `POST /kill` and `POST /start`."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            try:
                {"/kill": server.kill, "/start": server.start}[self.path]()
                status, text = 200, ""
            except Exception as error:
                status, text = 500, repr(error)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listener.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.server_port}"
    finally:
        listener.shutdown()
        listener.server_close()
        thread.join(10)


def run_package(package: Path, server: Server, report: Path, seconds: float) -> list[dict[str, Any]]:
    """Run a package's tests against `server`; what each came to. Raises AssertionError unless all of them passed.

    Skips where there is no Node. `report` is a file to write to.
    """
    node = require_node()
    vitest: list[str | Path] = [node, SDK / "node_modules" / "vitest" / "vitest.mjs", "run"]
    with control(server) as address:
        run = subprocess.run(
            [*vitest, "--reporter=json", "--reporter=default", f"--outputFile.json={report}"],
            cwd=package,
            env=node_environment(node) | {"WHISPR_TEST_URL": server.url, "WHISPR_TEST_CONTROL": address},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
        )
    assert report.exists(), run.stdout
    tests = [test for file in json.loads(report.read_text())["testResults"] for test in file["assertionResults"]]
    not_passed = [
        f"{test['fullName']}: {test['status']}\n{''.join(test['failureMessages'])}"
        for test in tests
        if test["status"] != "passed"
    ]
    assert not_passed == [], "\n".join([*not_passed, run.stdout[-8_000:], server.log()])
    assert run.returncode == 0, run.stdout
    # As many as the package has: a file that was not collected would not fail anything.
    sources = "".join(path.read_text() for path in (package / "src").glob("*.test.ts"))
    assert len({test["fullName"] for test in tests}) == len(tests)
    assert len(tests) >= sources.count("\n  it(") + sources.count("\n  it.each")
    return tests
