"""The system checks: each dangerous or missing setting is named, and a sound configuration is silent."""

import dataclasses

import pytest
from django.core.checks import Error
from django.core.exceptions import ImproperlyConfigured

from whispr import value_checks
from whispr.checks import check_settings, require_serving_settings
from whispr.kernel.limits import LIMITS

SOUND = {
    "DEBUG": False,
    "SECRET_KEY": "s" * 50,
    "DATABASE_URL": "postgres://db/whispr",
    "REDIS_URL": "redis://cache/0",
    "ALLOWED_HOSTS": ["chat.example.org"],
    "WHISPR_JWT_ALGORITHMS": ["EdDSA"],
    "WHISPR_JWT_SECRET": "",
    "WHISPR_JWT_JWKS_URL": "https://auth.example.org/jwks.json",
    "WHISPR_JWT_ISSUER": "whispr",
    "WHISPR_JWT_AUDIENCE": "whispr",
    "WHISPR_ALLOW_QUERY_TOKEN": False,
    "WHISPR_ALLOWED_ORIGINS": ["https://chat.example.org", "http://localhost:5173", "capacitor://localhost"],
    "WHISPR_DEV_LOGIN": False,
    "WHISPR_SIGNATURES": "required",
}
LOCAL = {
    "ALLOWED_HOSTS": ["127.0.0.1", "localhost", "[::1]", "testserver"],
    "WHISPR_JWT_ALGORITHMS": ["HS256"],
    "WHISPR_JWT_SECRET": "x" * 32,
    "WHISPR_JWT_JWKS_URL": "",
    "WHISPR_DEV_LOGIN": True,
    "WHISPR_SIGNATURES": "optional",
}


def apply(settings, *changes: dict) -> None:
    for change in (SOUND, *changes):
        for name, value in change.items():
            setattr(settings, name, value)


def ids() -> list[str]:
    return sorted(message.id or "" for message in check_settings())


def test_sound_settings_are_silent(settings):
    apply(settings)
    assert ids() == []
    require_serving_settings()


def test_the_local_run_is_silent(settings):
    apply(settings, LOCAL)
    assert ids() == []
    require_serving_settings()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"SECRET_KEY": ""}, ["whispr.W001"]),
        ({"DATABASE_URL": ""}, ["whispr.W002"]),
        ({"REDIS_URL": ""}, ["whispr.W003"]),
        ({"SECRET_KEY": "short"}, ["whispr.W004"]),
        ({"DATABASE_URL": "mysql://db/whispr"}, ["whispr.E014"]),
        ({"DATABASE_URL": "whispr"}, ["whispr.E014"]),
        ({"DATABASE_URL": "postgres://db"}, ["whispr.E014"]),
        ({"DATABASE_URL": "postgres://db:port/whispr"}, ["whispr.E014"]),
        ({"DATABASE_URL": "postgresql:///whispr?host=/run/postgresql"}, []),
        ({"REDIS_URL": "http://cache/0"}, ["whispr.E015"]),
        ({"REDIS_URL": "redis://"}, ["whispr.E015"]),
        ({"REDIS_URL": "rediss://cache"}, []),
        ({"REDIS_URL": "unix:///run/valkey.sock"}, []),
        ({"DEBUG": True}, ["whispr.W015"]),
        ({"DEBUG": True, "ALLOWED_HOSTS": ["localhost"]}, []),
        ({"WHISPR_JWT_ALGORITHMS": []}, ["whispr.E001"]),
        ({"WHISPR_JWT_ALGORITHMS": ["none"]}, ["whispr.E001"]),
        ({"WHISPR_JWT_ALGORITHMS": ["HS256", "EdDSA"]}, ["whispr.E002"]),
        ({"WHISPR_JWT_ISSUER": ""}, ["whispr.E003"]),
        ({"WHISPR_JWT_ALGORITHMS": ["HS256"]}, ["whispr.W005", "whispr.W006"]),
        ({"WHISPR_JWT_ALGORITHMS": ["HS256"], "WHISPR_JWT_SECRET": "short"}, ["whispr.E004", "whispr.W006"]),
        ({"WHISPR_JWT_ALGORITHMS": ["HS256"], "WHISPR_JWT_SECRET": "x" * 32}, ["whispr.W006"]),
        ({"WHISPR_JWT_JWKS_URL": ""}, ["whispr.E005"]),
        ({"WHISPR_JWT_JWKS_URL": "auth.example.org/jwks"}, ["whispr.E006"]),
        ({"WHISPR_JWT_JWKS_URL": "ftp://auth.example.org/jwks"}, ["whispr.E006"]),
        ({"WHISPR_JWT_JWKS_URL": "https://[broken"}, ["whispr.E006"]),
        ({"WHISPR_JWT_JWKS_URL": "http://auth.example.org/jwks"}, ["whispr.W007"]),
        ({"WHISPR_JWT_JWKS_URL": "http://127.0.0.1:8000/jwks"}, []),
        ({"WHISPR_JWT_JWKS_URL": "file:///etc/whispr/jwks.json"}, []),
        ({"WHISPR_ALLOW_QUERY_TOKEN": True}, ["whispr.W008"]),
        (LOCAL | {"ALLOWED_HOSTS": ["chat.example.org"]}, ["whispr.W009"]),
        (LOCAL | {"ALLOWED_HOSTS": ["127.0.0.1", "0.0.0.0"]}, ["whispr.W009"]),
        ({"WHISPR_DEV_LOGIN": True, "ALLOWED_HOSTS": ["localhost"]}, ["whispr.W010"]),
        ({"WHISPR_ALLOWED_ORIGINS": ["*"]}, ["whispr.E007"]),
        ({"WHISPR_ALLOWED_ORIGINS": ["https://*.example.org"]}, ["whispr.E007"]),
        ({"WHISPR_ALLOWED_ORIGINS": ["null"]}, ["whispr.E007"]),
        ({"WHISPR_ALLOWED_ORIGINS": ["chat.example.org"]}, ["whispr.E008"]),
        ({"WHISPR_ALLOWED_ORIGINS": ["https://chat.example.org/"]}, ["whispr.E008"]),
        ({"WHISPR_ALLOWED_ORIGINS": ["https://chat.example.org:port"]}, ["whispr.E008"]),
        ({"ALLOWED_HOSTS": ["*"]}, ["whispr.W011"]),
        ({"WHISPR_SIGNATURES": "sometimes"}, ["whispr.E009"]),
        ({"WHISPR_SIGNATURES": "off"}, ["whispr.W012"]),
        ({"WHISPR_TRACE": "some"}, ["whispr.E010"]),
    ],
    ids=str,
)
def test_each_danger_is_named(settings, change, expected):
    apply(settings, change)
    assert ids() == expected
    for message in check_settings():
        assert message.hint
        assert str(message.msg).endswith(".")


@pytest.mark.parametrize("name", ["SECRET_KEY", "DATABASE_URL", "REDIS_URL", "WHISPR_JWT_JWKS_URL"])
def test_nothing_is_served_without(settings, name):
    apply(settings, {name: ""})
    with pytest.raises(ImproperlyConfigured, match="is not set"):
        require_serving_settings()


def test_a_danger_that_is_only_warned_of_still_serves(settings):
    apply(settings, {"WHISPR_ALLOW_QUERY_TOKEN": True})
    assert all(message.level < Error("").level for message in check_settings())
    require_serving_settings()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"statement_timeout_ms": 0}, "whispr.E016"),
        ({"frame_bytes": 0}, "whispr.E016"),
        ({"content_bytes": 96 * 1024}, "whispr.W016"),
        ({"request_seconds": 30}, "whispr.W017"),
        ({"sends_per_minute": 0}, None),
        ({"push_grace_seconds": 0}, None),
    ],
    ids=str,
)
def test_limits_that_let_nothing_pass_or_do_not_fit_are_named(settings, monkeypatch, change, expected):
    apply(settings)
    monkeypatch.setattr(value_checks, "LIMITS", dataclasses.replace(LIMITS, **change))
    found = check_settings()
    assert (expected in ids()) if expected else not found
    if expected:
        named = "WHISPR_" + next(iter(change)).upper()
        assert any(str(message.msg).startswith(named) and message.hint for message in found)
