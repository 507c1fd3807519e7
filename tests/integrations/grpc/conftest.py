"""Certificates of both sides, and something that never answers."""

import datetime
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.own_services import services

__all__ = ["services"]


class Files(NamedTuple):
    """Of one identity, as the settings name them."""

    certificate: str
    key: str


class Authority:
    """A certificate authority of a test."""

    def __init__(self, place: Path, name: str) -> None:
        self._place = place
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._made = 0
        self.certificate = self._write("ca", self._sign(self._name, self._key.public_key(), authority=True))

    def issue(self) -> Files:
        """A certificate for this machine."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return Files(
            self._write("cert", self._sign(name, key.public_key(), authority=False)), self._write("key", secret)
        )

    def _sign(self, name: x509.Name, key: Any, authority: bool) -> bytes:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        if not authority:
            import ipaddress

            here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
            builder = builder.add_extension(here, critical=False)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def _write(self, kind: str, content: bytes) -> str:
        self._made += 1
        path = self._place / f"{kind}{self._made}.pem"
        path.write_bytes(content)
        return str(path)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    (tmp_path / "ours").mkdir()
    return Authority(tmp_path / "ours", "ours")


@pytest.fixture
def stranger(tmp_path: Path) -> Authority:
    (tmp_path / "theirs").mkdir()
    return Authority(tmp_path / "theirs", "theirs")


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of something that takes connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        yield f"127.0.0.1:{listener.getsockname()[1]}"
