"""What is set wrongly is refused by its name, not with a riddle and not by silence."""

import os
import subprocess
import sys

import pytest

from whispr.kernel.environment import number, switch, whole_number

NAME = "WHISPR_SOMETHING"


@pytest.fixture
def value(monkeypatch: pytest.MonkeyPatch):
    return lambda text: monkeypatch.setenv(NAME, text)


@pytest.mark.parametrize("text", ["abc", "1.5", "-1", "0", "11", "1e1", "9" * 5_000, "٣", "0x1"])
def test_what_is_no_whole_number_of_the_range_is_refused_by_its_name(value, text):
    value(text)
    with pytest.raises(ValueError, match=NAME):
        whole_number(NAME, 5, least=1, most=10)


@pytest.mark.parametrize("text", ["abc", "-1", "0.05", "nan", "inf", "1,5"])
def test_what_is_no_number_of_the_range_is_refused_by_its_name(value, text):
    value(text)
    with pytest.raises(ValueError, match=NAME):
        number(NAME, 5.0, least=0.1)


@pytest.mark.parametrize("text", ["maybe", "2", "tru", "-"])
def test_a_switch_is_neither_on_nor_off_by_a_typing_error(value, text):
    value(text)
    with pytest.raises(ValueError, match=NAME):
        switch(NAME, False)


def test_what_is_right_is_read_and_what_is_not_set_is_its_default(value):
    assert (whole_number(NAME, 5), number(NAME, 0.5), switch(NAME, True)) == (5, 0.5, True)
    value(" 7 ")
    assert (whole_number(NAME, 5), number(NAME, 0.5)) == (7, 7.0)
    for text, on in (("1", True), ("True", True), ("on", True), ("0", False), ("FALSE", False), ("", True)):
        value(text)
        assert switch(NAME, True) is on


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("WHISPR_PORT", ["run", "web"]),
        ("WHISPR_WORKER_THREADS", ["run", "worker"]),
        ("WHISPR_PORT", ["serve"]),
        ("WHISPR_WORKERS", ["serve"]),
    ],
)
def test_a_process_that_does_not_start_says_why(name, arguments):
    command = [sys.executable, "-m", "whispr.embedded", *arguments]
    done = subprocess.run(command, env={**os.environ, name: "many"}, capture_output=True, text=True, timeout=30)
    assert done.returncode != 0
    assert f"{name} must be a whole number" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("WHISPR_DB_POOL", "abc"),
        ("WHISPR_DB_POOL", "1"),
        ("WHISPR_COMMIT_LANES", "0"),
        ("WHISPR_METRICS_PORT", "70000"),
        ("WHISPR_HTTPS", "jes"),
        ("WHISPR_HEAD_CHECK_SECONDS", "abc"),
        ("WHISPR_SENDS_PER_MINUTE", "many"),
    ],
)
def test_a_command_ends_with_the_name_of_what_is_wrong(name, text):
    done = subprocess.run(
        [sys.executable, "manage.py", "check"], env={**os.environ, name: text}, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert name in done.stderr.strip().splitlines()[-1]
