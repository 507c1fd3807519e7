import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from script import checks
from tests.living import wait_gone

ROOT = Path(__file__).resolve().parents[2]


def python(code: str) -> "subprocess.Popen[str]":
    source = "import sys; from script import checks\n" + textwrap.dedent(code)
    return subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True, cwd=ROOT)


def test_a_failed_check_is_named_and_the_others_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def some(suite: checks.Checks, fast: bool, arguments: list[str]) -> None:
        assert (fast, arguments) == (True, ["-k", "a b"])
        suite.run("bad", ["false"])
        suite.run("absent", ["/no/such/program"])
        suite.run("good", ["true"])
        suite.leave_out("something", "for a reason")

    monkeypatch.setattr(checks, "check_all", some)
    monkeypatch.setattr(checks, "take_signals", lambda: None)
    monkeypatch.setattr(checks, "kill_adopted", lambda: None)

    assert checks.main(["--fast", "--", "-k", "a b"]) == 1
    said = capsys.readouterr().out
    assert "script/test: FAILED (bad, absent); 1 checks passed" in said
    assert "Left out: something (for a reason)." in said


def test_all_passed_is_said_and_an_unknown_option_is_not_taken_for_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checks, "check_all", lambda suite, *_: suite.run("good", ["true"]))
    monkeypatch.setattr(checks, "take_signals", lambda: None)
    monkeypatch.setattr(checks, "kill_adopted", lambda: None)

    assert checks.main([]) == 0
    assert "script/test: all 1 checks passed" in capsys.readouterr().out
    assert checks.main(["--quick"]) == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_check_and_what_it_started(number: signal.Signals) -> None:
    code = """
        command = ["sh", "-c", "setsid sleep 100 & echo $!; exec sleep 100"]
        checks.check_all = lambda suite, *rest: suite.run("long", command)
        sys.exit(checks.main([]))
    """
    process = python(code)
    assert process.stdout
    while not (line := process.stdout.readline()).strip().isdigit():
        assert line, "it ended before"
    child = int(line)

    process.send_signal(number)

    assert process.wait(30) == 128 + number
    assert wait_gone(child) == []


def test_a_check_that_hangs_is_stopped_and_has_failed() -> None:
    code = """
        suite = checks.Checks({"PATH": "/usr/bin:/bin"})
        print(suite.run("hanging", ["sleep", "100"], seconds=0.2), suite.failed)
    """
    out, _ = python(code).communicate(timeout=30)

    assert "hanging is not done after 0 s and is stopped." in out
    assert "False ['hanging']" in out


def test_compare_names_each_difference(tmp_path: Path) -> None:
    committed, built = tmp_path / "committed", tmp_path / "built"
    for path, content in (
        (committed / "same.js", "1"),
        (built / "same.js", "1"),
        (committed / "a" / "other.js", "1"),
        (built / "a" / "other.js", "2"),
        (committed / "old.js", ""),
        (built / "new.js", ""),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    assert checks.compare(committed, built) == [
        "  old.js: committed, but not built",
        "  new.js: built, but not committed",
        "  a/other.js: differs",
    ]
    assert checks.compare(built, built) == []


def test_compare_of_nothing_with_nothing_is_a_difference(tmp_path: Path) -> None:
    assert checks.compare(tmp_path / "a", tmp_path / "b") == ["  nothing was built"]


def test_the_checks_find_our_node_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "find_chromium", lambda: "/usr/bin/chromium")
    environment = checks.check_environment({"PATH": "/usr/bin", "HOME": "/nonexistent"})

    assert environment["PATH"].startswith(str(ROOT / ".tools" / "bin") + os.pathsep)
    assert environment["WHISPR_CHROMIUM"] == "/usr/bin/chromium"
    assert environment["npm_config_cache"].startswith(str(ROOT))
