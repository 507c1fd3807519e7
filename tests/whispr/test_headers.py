"""What each page may load and run, and the brake on guessing at the admin's login."""

import pytest
from axes.utils import reset
from django.contrib.auth.models import User
from django.test import Client

from whispr.headers import ADMIN, DOCS, NOTHING
from whispr.kernel.limits import LIMITS
from whispr.web import POLICY

pytestmark = pytest.mark.django_db
LOGIN = "/admin/login/"


@pytest.fixture(autouse=True)
def _secret(settings) -> None:
    settings.SECRET_KEY = "a key for the sessions of tests, of more than fifty characters"
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # the real one takes 0.5 s each


@pytest.mark.parametrize(
    ("path", "policy"),
    [
        ("/", POLICY),
        (LOGIN, ADMIN),
        ("/api/v1/docs", DOCS),
        ("/api/v1/schema", NOTHING),
        ("/api/v1/conversations", NOTHING),
        ("/livez", NOTHING),
        ("/nothing/here", NOTHING),
    ],
)
def test_every_answer_has_its_policy(client: Client, path: str, policy: str) -> None:
    assert client.get(path)["Content-Security-Policy"] == policy


@pytest.mark.parametrize("policy", [POLICY, ADMIN, DOCS, NOTHING])
def test_no_policy_runs_inline_scripts_or_lets_others_frame_it(policy: str) -> None:
    directives = dict(part.split(" ", 1) for part in policy.split("; "))
    assert "'unsafe-inline'" not in directives.get("script-src", directives["default-src"])
    assert directives["frame-ancestors"] in ("'none'", "'self'")
    assert "http" not in policy


def attempt(client: Client, password: str, name: str = "root", address: str = "192.0.2.1") -> int:
    # X-Forwarded-For is what anybody may write: the address is the connection's.
    answer = client.post(
        LOGIN,
        {"username": name, "password": password},
        REMOTE_ADDR=address,
        headers={"X-Forwarded-For": f"198.51.100.{len(password)}"},
    )
    return answer.status_code


def test_who_guesses_waits_and_nobody_else_does(client: Client) -> None:
    User.objects.create_superuser("root", password="right")
    codes = [attempt(client, "x" * number, name=f"guess{number % 3}") for number in range(1, LIMITS.login_failures + 3)]
    assert codes[: LIMITS.login_failures - 1] == [200] * (LIMITS.login_failures - 1)
    assert set(codes[LIMITS.login_failures :]) == {429}
    assert attempt(client, "right") == 429
    assert attempt(client, "right", address="192.0.2.2") == 302
    reset()
    assert attempt(client, "right") == 302


def test_a_right_password_forgets_the_wrong_ones(client: Client) -> None:
    User.objects.create_superuser("root", password="right")
    for _ in range(3):
        for _ in range(LIMITS.login_failures - 1):
            assert attempt(client, "wrong") == 200
        assert attempt(client, "right") == 302
