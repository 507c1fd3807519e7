"""Development tokens, and the commands that print them, with no database in reach."""

import os
import subprocess
import sys
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from django.core.exceptions import ImproperlyConfigured

from whispr.kernel import auth
from whispr.kernel.auth import verify_token
from whispr.kernel.ids import user_id_of
from whispr.kernel.limits import LIMITS
from whispr.kernel.tokens import development_device_id, make_token

SECRET = "a secret of the tests, which is long enough for HS256"
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def _hs256(settings):
    settings.WHISPR_JWT_ALGORITHMS = ["HS256"]
    settings.WHISPR_JWT_SECRET = SECRET
    yield
    auth.stop()


def test_a_token_is_good_for_its_user_and_device():
    user, device = uuid4(), uuid4()
    first, second = verify_token(make_token(user, device, 60)), verify_token(make_token(user, device, 60))
    assert (first.user_id, first.device_id, first.expires_at - first.issued_at) == (user, device, 60)
    assert first.jti != second.jti


@pytest.mark.parametrize("lifetime", [0, -1, LIMITS.token_lifetime_max + 1])
def test_a_lifetime_has_bounds(lifetime):
    with pytest.raises(ValueError, match="lifetime"):
        make_token(uuid4(), uuid4(), lifetime)


def test_nobody_has_no_token():
    with pytest.raises(ValueError, match="nil"):
        make_token(UUID(int=0), uuid4())
    with pytest.raises(ValueError, match="nil"):
        make_token(uuid4(), UUID(int=0))


@pytest.mark.parametrize("secret", ["", "short"])
def test_no_secret_no_token(settings, secret):
    settings.WHISPR_JWT_SECRET = secret
    with pytest.raises(ImproperlyConfigured):
        make_token(uuid4(), uuid4())


def manage(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`manage.py` in a process of its own, with no database, no Redis and no secret key but those given."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("WHISPR_", "DATABASE", "REDIS"))}
    # Nothing listens on port 1: a command that needed a server would fail.
    servers = {"DATABASE_URL": "postgres://nobody@127.0.0.1:1/none", "REDIS_URL": "redis://127.0.0.1:1/0"}
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=clean | servers | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_token_command_prints_a_token_alone():
    first = manage("token", "alice", WHISPR_JWT_SECRET=SECRET)
    assert (first.returncode, first.stderr, first.stdout.count("\n")) == (0, "", 1)
    claims = verify_token(first.stdout.strip())
    alice = user_id_of("alice")
    assert (claims.user_id, claims.device_id) == (alice, development_device_id(alice))
    device, user = uuid4(), uuid4()
    second = manage("token", str(user), "--device", str(device), "--lifetime", "90", WHISPR_JWT_SECRET=SECRET)
    claims = verify_token(second.stdout.strip())
    assert (claims.user_id, claims.device_id, claims.expires_at - claims.issued_at) == (user, device, 90)


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        (["alice"], {"WHISPR_JWT_SECRET": ""}),
        (["alice"], {"WHISPR_JWT_SECRET": "short"}),
        (["alice"], {"WHISPR_JWT_SECRET": SECRET, "WHISPR_JWT_ALGORITHMS": "RS256"}),
        (["alice", "--device", "phone"], {"WHISPR_JWT_SECRET": SECRET}),
        (["alice", "--lifetime", "0"], {"WHISPR_JWT_SECRET": SECRET}),
        ([" "], {"WHISPR_JWT_SECRET": SECRET}),
    ],
    ids=str,
)
def test_the_token_command_says_why_not(arguments, environment):
    done = manage("token", *arguments, **environment)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("CommandError: ")
    assert "Traceback" not in done.stderr


def test_the_userid_command():
    done = manage("userid", "alice")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{user_id_of('alice')}\n", "")
    user = uuid4()
    assert manage("userid", str(user)).stdout == f"{user}\n"
    assert manage("userid", "").returncode == 1


def test_help_needs_nothing():
    assert manage("token", "--help").returncode == 0
