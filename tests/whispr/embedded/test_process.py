"""Each case runs in a Python of its own: the module takes over the signals of its process."""

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.living import is_there, wait_gone
from whispr.embedded.process import PROJECT

linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the kernel's help is Linux's")
PRELUDE = """
import os, signal, sys, time
from whispr.embedded.process import *
take_signals()
ENV = {"PATH": os.defpath}
def sh(text, **options): return spawn("sh", ["sh", "-c", text], environment=ENV, **options)
"""


def python(code: str) -> "subprocess.Popen[str]":
    source = PRELUDE + textwrap.dedent(code)
    return subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True, cwd=PROJECT)


def lines(process: "subprocess.Popen[str]") -> list[str]:
    out, _ = process.communicate(timeout=30)
    return out.split()


@linux
def test_children_go_when_their_parent_is_killed() -> None:
    parent = python("child = sh('exec sleep 100'); print(child.process.pid, flush=True); time.sleep(100)")
    assert parent.stdout
    pid = int(parent.stdout.readline())
    assert is_there(pid)

    parent.kill()
    parent.wait()

    assert wait_gone(pid) == []


def test_stop_ends_the_whole_group_also_what_ignores_the_signal() -> None:
    code = """
        child = sh("trap '' TERM; sleep 100 & echo $!; wait; sleep 100")
        time.sleep(0.5); stop([child], 0.3); print(child.process.pid, child.process.returncode)
    """
    inner, outer, code_of_end = map(int, lines(python(code)))

    assert code_of_end == -signal.SIGKILL
    assert wait_gone(inner, outer) == []


def test_stop_ends_what_a_dead_leader_left_in_its_group() -> None:
    code = "child = sh('sleep 100 & echo $!'); wait_for(child); stop([child], 1)"
    (inner,) = map(int, lines(python(code)))

    assert wait_gone(inner) == []


@linux
def test_what_left_its_group_is_adopted_and_killed_at_the_end() -> None:
    code = "child = sh('setsid sleep 100 & echo $!; sleep 0.3'); wait_for(child); stop([child], 1); kill_adopted()"
    (daemon,) = map(int, lines(python(code)))

    assert wait_gone(daemon) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_a_wait_and_a_second_one_does_not_disturb_the_end(number: signal.Signals) -> None:
    code = f"""
        child = sh("trap 'sleep 0.3; exit 7' TERM; echo started; while :; do sleep 0.1; done")
        time.sleep(0.5)
        os.kill(os.getpid(), {int(number)})
        try:
            wait_for(child)
        except Stopped as stopped:
            os.kill(os.getpid(), {int(number)})
            stop([child], 10)
            print(stopped, child.process.returncode)
    """
    assert lines(python(code)) == ["started", number.name, "7"]


def test_nohup_keeps_a_run_through_a_hang_up() -> None:
    code = "os.kill(os.getpid(), signal.SIGHUP); next_signal(0.2); print('still', 'here')"
    source = f"import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n{PRELUDE}\n{code}"
    answer = subprocess.run([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True, cwd=PROJECT, check=True)

    assert answer.stdout.split() == ["still", "here"]


def test_children_take_signals_although_we_hold_ours_back() -> None:
    code = """
        program = "import signal; print(*signal.pthread_sigmask(0, []))"
        child = spawn("python", [sys.executable, "-c", program], environment=ENV)
        print(wait_for(child, 10))
    """
    assert lines(python(code)) == ["0"]


def test_wait_for_gives_up_after_its_time_and_the_child_lives() -> None:
    code = """
        child = sh("sleep 100")
        print(wait_for(child, 0.2), child.is_running)
        stop([child], 1)
        print(child.how_it_ended())
    """

    assert " ".join(lines(python(code))) == "None True was killed by SIGTERM"


def test_a_terminal_that_has_gone_breaks_nothing() -> None:
    answer = subprocess.run(
        ["sh", "-c", f'"{sys.executable}" -c "$0" >&-', PRELUDE + "say('hello'); os._exit(3)"], cwd=PROJECT, check=False
    )

    assert answer.returncode == 3
