"""Which services are called, and on which conditions; the check explains what is dangerous."""

from pathlib import Path
from typing import Any

import pytest

from whispr.checks import check_settings
from whispr.kernel.remote_service import remote_service, remote_services


@pytest.fixture
def pem(tmp_path: Path) -> str:
    path = tmp_path / "file.pem"
    path.write_text("a certificate")
    return str(path)


def ids() -> list[str]:
    return [
        str(message.id) for message in check_settings() if message.id in ("whispr.E013", "whispr.W013", "whispr.W014")
    ]


def test_unset_nothing_is_called(settings: Any) -> None:
    assert remote_services() == {}
    assert remote_service("user_service") is None
    assert ids() == []


def test_a_service_on_this_machine_needs_no_certificate(settings: Any) -> None:
    settings.WHISPR_USER_SERVICE = "127.0.0.1:9001"
    settings.WHISPR_MEDIA_SERVICE = "localhost:9002"
    settings.WHISPR_NOTIFICATION_SERVICE = "[::1]:9003"
    assert ids() == []
    assert {name: one.address for name, one in remote_services().items()} == {
        "user_service": "127.0.0.1:9001",
        "media_service": "localhost:9002",
        "notification_service": "[::1]:9003",
    }


@pytest.mark.parametrize(
    "address", ["users", "users:", ":9001", "users:0", "users:99999", "http://users:9001", "a b:1"]
)
def test_what_is_no_address_is_refused(settings: Any, address: str) -> None:
    settings.WHISPR_USER_SERVICE = address
    assert ids() == ["whispr.E013"]


def test_an_unencrypted_service_elsewhere_is_warned_of(settings: Any, pem: str) -> None:
    settings.WHISPR_USER_SERVICE = "users.internal:9001"
    assert ids() == ["whispr.W013"]
    settings.WHISPR_SERVICES_CA = pem
    assert ids() == []
    settings.WHISPR_SERVICES_CERT = settings.WHISPR_SERVICES_KEY = pem
    assert ids() == []


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"CA": True, "CERT": True}, "a certificate needs its key"),
        ({"CA": True, "KEY": True}, "a certificate needs its key"),
        ({"CERT": True, "KEY": True}, "nothing would be encrypted"),
        ({"CA": False}, "cannot be read"),
        ({"CA": True, "CERT": True, "KEY": False}, "cannot be read"),
    ],
)
def test_half_of_tls_is_refused_once(settings: Any, pem: str, files: dict[str, bool], said: str) -> None:
    settings.WHISPR_USER_SERVICE = settings.WHISPR_MEDIA_SERVICE = "127.0.0.1:9001"
    for name, there in files.items():
        setattr(settings, f"WHISPR_SERVICES_{name}", pem if there else f"{pem}.gone")
    (found,) = [message for message in check_settings() if message.id == "whispr.E013"]
    assert said in found.msg


def test_an_empty_file_is_refused(settings: Any, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()
    settings.WHISPR_USER_SERVICE = "users.internal:9001"
    settings.WHISPR_SERVICES_CA = str(tmp_path / "empty.pem")
    assert ids() == ["whispr.E013"]


def test_certificates_without_a_service_are_told_of(settings: Any, pem: str) -> None:
    settings.WHISPR_SERVICES_CA = pem
    assert ids() == ["whispr.W014"]
