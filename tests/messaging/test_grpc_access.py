"""Who may call the gRPC service: this machine, or a certificate of the right authority."""

import datetime
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from django.core.exceptions import ImproperlyConfigured

from integrations.proto.whispr.messaging.v1 import messaging_pb2_grpc
from messaging.grpc_server import ServiceServer
from tests.messaging.test_grpc_server import SECONDS, call, calling, entries, free_port, group, refusal, serving
from whispr.checks import check_settings, require_serving_settings
from whispr.kernel import database
from whispr.kernel.service_entry import ServiceEntry

pytestmark = pytest.mark.django_db(transaction=True)


class Authority:
    """A certificate authority of a test."""

    def __init__(self, place: Path, name: str) -> None:
        self.place, self.name = place, name
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        own = self._signed(self.subject, self.key).add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        self.pem = own.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        self.file = place / f"{name}.pem"
        self.file.write_bytes(self.pem)

    def _signed(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
        )

    def issue(self, name: str) -> tuple[Path, Path]:
        """The files of a certificate for `localhost` and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        built = self._signed(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key).add_extension(
            x509.SubjectAlternativeName([x509.DNSName("localhost")]), False
        )
        files = self.place / f"{self.name}-{name}.pem", self.place / f"{self.name}-{name}.key"
        files[0].write_bytes(built.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        files[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return files


@asynccontextmanager
async def secure_channel(port: int, trusted: bytes, *files: Path) -> AsyncIterator[messaging_pb2_grpc.MessagingStub]:
    certificate, key = (file.read_bytes() for file in files) if files else (None, None)
    credentials = grpc.ssl_channel_credentials(trusted, key, certificate)
    async with grpc.aio.secure_channel(f"localhost:{port}", credentials) as channel:
        yield messaging_pb2_grpc.MessagingStub(channel)


async def test_with_mutual_tls_only_a_certificate_of_the_right_authority_gets_in(tmp_path: Path):
    conversation = await database.run(group)
    ours, others = Authority(tmp_path, "ours"), Authority(tmp_path, "others")
    certificate, key = ours.issue("server")
    entry = ServiceEntry(f"0.0.0.0:{free_port()}", str(certificate), str(key), str(ours.file))
    async with serving(entry) as address:
        port = int(address.rpartition(":")[2])
        async with secure_channel(port, ours.pem, *ours.issue("caller")) as stub:
            assert (await stub.PostSystemMessage(call(conversation), timeout=SECONDS)).seq == 2
        for files in ((), others.issue("caller")):
            async with secure_channel(port, ours.pem, *files) as stub:
                status, trailing = await refusal(stub, call(conversation))
                assert (status, trailing.get("whispr-code")) == (grpc.StatusCode.UNAVAILABLE, None)
        async with calling(f"127.0.0.1:{port}") as stub:  # without TLS at all
            assert (await refusal(stub, call(conversation)))[0] == grpc.StatusCode.UNAVAILABLE
    assert len(await database.run(entries, conversation)) == 1


async def test_files_that_are_none_are_named(tmp_path: Path):
    nothing = str(tmp_path / "nothing.pem")
    with pytest.raises(ImproperlyConfigured, match=r"nothing\.pem"):
        ServiceServer(ServiceEntry(f"127.0.0.1:{free_port()}", nothing, nothing, nothing))


SOUND = ["127.0.0.1:9000", "127.8.8.8:9000", "[::1]:9000", "localhost:9000", ""]


@pytest.mark.parametrize("address", SOUND)
def test_this_machine_alone_needs_no_certificate(settings, address: str):
    settings.WHISPR_GRPC_ADDRESS = address
    assert [message for message in check_settings() if message.id == "whispr.E011"] == []


@pytest.mark.parametrize(
    ("address", "tls", "said"),
    [
        ("0.0.0.0:9000", (), "without mutual TLS"),
        ("[::]:9000", (), "without mutual TLS"),
        ("10.1.1.1:9000", (), "without mutual TLS"),
        ("whispr.internal:9000", (), "without mutual TLS"),
        ("127.0.0.1.example.org:9000", (), "without mutual TLS"),
        ("0.0.0.0:9000", ("CERT", "KEY"), "some are not set"),
        ("127.0.0.1:9000", ("CLIENT_CA",), "some are not set"),
        ("127.0.0.1", (), "not host:port"),
        (":9000", (), "not host:port"),
        ("127.0.0.1:0", (), "not host:port"),
        ("unix:/run/whispr.sock", (), "not host:port"),
        ("127.0.0.1:99999", ("CERT", "KEY", "CLIENT_CA"), "not host:port"),
    ],
)
def test_the_check_refuses_a_door_that_stands_open(settings, address: str, tls: tuple[str, ...], said: str):
    settings.WHISPR_GRPC_ADDRESS = address
    for name in tls:
        setattr(settings, f"WHISPR_GRPC_{name}", "/etc/whispr/file.pem")
    (found,) = (message for message in check_settings() if message.id == "whispr.E011")
    assert said in found.msg
    with pytest.raises(ImproperlyConfigured, match="WHISPR_GRPC"):
        require_serving_settings()
    with pytest.raises(ImproperlyConfigured, match="WHISPR_GRPC"):
        ServiceServer(ServiceEntry(address, *(["x"] * len(tls))))
