"""The background refresh, against a real HTTP server whose keys, faults and slowness each test sets."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from whispr.kernel.jwks import DOCUMENT_BYTES_MAX, JwksError, JwksSource, fetch_document, parse_jwks


def ed_jwk(kid: str) -> dict:
    key = ed25519.Ed25519PrivateKey.generate().public_key()
    return json.loads(OKPAlgorithm.to_jwk(key)) | {"kid": kid}


def document(*keys: object) -> bytes:
    return json.dumps({"keys": list(keys)}).encode()


class Issuer:
    """An auth service's key set, on a port of its own."""

    def __init__(self) -> None:
        self.body = document(ed_jwk("a"))
        self.status = 200
        self.requests = 0
        self.headers: dict[str, str] = {}
        self.hold = threading.Event()  # while it is not set, an answer waits
        self.hold.set()
        self.drip = 0.0
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.requests += 1
                issuer.hold.wait(10)
                self.send_response(issuer.status)
                for name, value in issuer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(issuer.body)))
                self.end_headers()
                try:
                    if issuer.drip:
                        for byte in issuer.body:
                            self.wfile.write(bytes([byte]))
                            self.wfile.flush()
                            time.sleep(issuer.drip)
                    else:
                        self.wfile.write(issuer.body)
                except OSError:
                    pass

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/jwks.json"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self.hold.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    issuer = Issuer()
    yield issuer
    issuer.close()


@pytest.fixture
def source_of(issuer: Issuer) -> Iterator[Callable[..., JwksSource]]:
    sources: list[JwksSource] = []

    def make(**options: float) -> JwksSource:
        sources.append(JwksSource(issuer.url, **({"fetch_seconds": 1.0, "backoff_seconds": 0.05} | options)))
        return sources[-1]

    yield make
    for source in sources:
        source.stop()


def eventually(condition: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def test_the_first_keys_are_waited_for_by_who_asks(source_of):
    source = source_of()
    assert not source.has_keys()
    assert source.wait_ready(10)
    assert source.key("a") is not None
    assert source.key("a").algorithm == "EdDSA"


def test_the_first_verification_starts_the_thread_and_does_not_wait(issuer, source_of):
    issuer.hold.clear()
    source = source_of()
    assert source.key("a") is None  # returns though the issuer does not answer
    issuer.hold.set()
    eventually(lambda: source.key("a"))


def test_a_new_key_is_fetched_early_and_the_old_one_is_dropped(issuer, source_of):
    source = source_of(early_seconds=0.2)
    assert source.wait_ready(10)
    issuer.body = document(ed_jwk("b"))
    assert source.key("b") is None  # not waited for
    eventually(lambda: source.key("b"))
    assert source.key("a") is None


def test_rotation_is_seen_without_anybody_asking(issuer, source_of):
    source = source_of(refresh_seconds=0.2)
    assert source.wait_ready(10)
    issuer.body = document(ed_jwk("b"))
    fetched = issuer.requests
    eventually(lambda: issuer.requests >= fetched + 2)
    assert source.key("a") is None
    assert source.key("b") is not None


def test_forged_kids_cost_one_request_a_period(issuer, source_of):
    source = source_of(early_seconds=3_600)
    assert source.wait_ready(10)
    for number in range(5_000):
        assert source.key(f"forged-{number}") is None
    time.sleep(0.3)
    assert issuer.requests == 1


def test_a_burst_of_unknown_kids_is_one_early_request(issuer, source_of):
    source = source_of(early_seconds=0.5)
    assert source.wait_ready(10)
    for number in range(1_000):
        source.key(f"forged-{number}")
    eventually(lambda: issuer.requests == 2)
    time.sleep(1.0)
    assert issuer.requests == 2


@pytest.mark.parametrize("fault", ["500", "html", "empty", "closed", "huge", "redirect"])
def test_a_faulty_issuer_costs_no_known_key(issuer, source_of, fault):
    source = source_of(refresh_seconds=0.1)
    assert source.wait_ready(10)
    good = issuer.body
    if fault == "500":
        issuer.status = 500
    elif fault == "html":
        issuer.body = b"<html>sign in</html>"
    elif fault == "empty":
        issuer.body = document()
    elif fault == "huge":
        issuer.body = good + b" " * DOCUMENT_BYTES_MAX
    elif fault == "redirect":
        issuer.status, issuer.headers = 302, {"Location": issuer.url.replace("jwks", "other")}
    else:
        issuer.close()
    fetched = issuer.requests
    if fault == "closed":
        time.sleep(0.5)
    else:
        eventually(lambda: issuer.requests >= fetched + 3)
    assert source.key("a") is not None
    assert source.has_keys()


def test_known_keys_are_kept_for_a_bounded_time(issuer, source_of):
    source = source_of(refresh_seconds=0.1, keep_seconds=0.6)
    assert source.wait_ready(10)
    issuer.status = 503
    eventually(lambda: source.key("a") is None)
    assert not source.has_keys()
    issuer.status = 200
    eventually(lambda: source.key("a"))


def test_an_issuer_that_comes_late_is_found(issuer, source_of):
    issuer.status = 503
    source = source_of()
    assert not source.wait_ready(0.3)
    issuer.status = 200
    assert source.wait_ready(10)


def test_a_dripping_issuer_is_given_up(issuer):
    issuer.drip = 0.05
    issuer.body = document(ed_jwk("a")) + b" " * 1_000
    with pytest.raises((JwksError, OSError)):
        fetch_document(issuer.url, 0.2)


def test_stop_ends_the_thread(source_of):
    source = source_of()
    assert source.wait_ready(10)
    thread = source._thread
    source.stop()
    eventually(lambda: not thread.is_alive())


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/x", "gopher://x", "data:application/json,{}", "/etc/passwd", ""])
def test_only_known_schemes_are_read(url):
    with pytest.raises(JwksError):
        fetch_document(url, 1)


def test_usable_keys():
    rsa_key = json.loads(RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 2048).public_key()))
    ec_key = json.loads(ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()).public_key()))
    keys = parse_jwks(document(rsa_key | {"kid": "r"}, ec_key | {"kid": "e", "use": "sig"}, ed_jwk("d")))
    assert {kid: key.algorithm for kid, key in keys.items()} == {"r": "RS256", "e": "ES256", "d": "EdDSA"}


def test_unusable_keys_are_left_out():
    private = ed25519.Ed25519PrivateKey.generate()
    weak = json.loads(RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 1024).public_key()))
    p384 = json.loads(ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP384R1()).public_key()))
    first, second = ed_jwk("twice"), ed_jwk("twice")
    keys = parse_jwks(
        document(
            ed_jwk("good"),
            {"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "kid": "shared"},
            weak | {"kid": "weak"},
            p384 | {"kid": "p384"},
            json.loads(OKPAlgorithm.to_jwk(private)) | {"kid": "private"},
            ed_jwk("enc") | {"use": "enc"},
            ed_jwk("ops") | {"key_ops": ["encrypt"]},
            ed_jwk("alg") | {"alg": "HS256"},
            ed_jwk("x") | {"x": "AAAA"},
            ed_jwk("x2") | {"x": 7},
            ed_jwk("k" * 300),
            ed_jwk("") | {"kid": 7},
            {"kty": "RSA", "kid": "bare"},
            "text",
            None,
            first,
            second,
        )
    )
    assert set(keys) == {"good", "twice"}
    assert keys["twice"].key == jwt.PyJWK(first, algorithm="EdDSA").key


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[]", b'{"keys": 7}', b'{"keys": []}', b'{"keys": {"a": 1}}', b"[" * 100_000, b"\xff"],
    ids=len,
)
def test_what_is_no_key_set(body):
    with pytest.raises(JwksError):
        parse_jwks(body)
