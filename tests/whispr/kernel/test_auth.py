"""The verifier: the reliability catalogue §3 rows 24 to 28 and 34. Each token is signed for real; nothing is mocked."""

import base64
import hashlib
import hmac
import json
import time
from pathlib import Path
from uuid import UUID, uuid4

import jwt
import pytest
import time_machine
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from whispr.kernel import auth
from whispr.kernel.auth import Claims, verify_token
from whispr.kernel.errors import Unauthenticated
from whispr.kernel.limits import LIMITS
from whispr.kernel.tokens import make_token

SECRET = "a secret of the tests, which is long enough for HS256"
USER, DEVICE = uuid4(), uuid4()
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()


@pytest.fixture(autouse=True)
def _hs256(settings):
    settings.WHISPR_JWT_ALGORITHMS = ["HS256"]
    settings.WHISPR_JWT_SECRET = SECRET
    settings.WHISPR_JWT_JWKS_URL = ""
    settings.WHISPR_JWT_ISSUER = "whispr"
    settings.WHISPR_JWT_AUDIENCE = "whispr"
    yield
    auth.stop()


def claims(**changes) -> dict:
    now = int(time.time())
    base = {
        "sub": str(USER),
        "device": str(DEVICE),
        "iss": "whispr",
        "aud": "whispr",
        "iat": now,
        "exp": now + 600,
        "jti": "j1",
    }
    return {key: value for key, value in (base | changes).items() if value is not ...}


def token(headers: dict | None = None, key=SECRET, algorithm="HS256", **changes) -> str:
    return jwt.encode(claims(**changes), key, algorithm=algorithm, headers=headers)


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def handmade(header: dict, payload: dict | bytes, key: bytes = SECRET.encode()) -> str:
    """A token with any header and payload, and a right HS256 signature."""
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    signed = f"{b64(json.dumps(header).encode())}.{b64(body)}"
    return f"{signed}.{b64(hmac.digest(key, signed.encode(), hashlib.sha256))}"


def refused(text: str) -> bool:
    with pytest.raises(Unauthenticated):
        verify_token(text)
    return True


def test_a_good_token_gives_its_claims():
    now = int(time.time())
    assert verify_token(token(iat=now, exp=now + 60)) == Claims(USER, DEVICE, now + 60, now, "j1")


def test_the_handmade_token_is_good():
    # The control of every test below that changes one thing of it.
    assert verify_token(handmade({"alg": "HS256", "typ": "JWT"}, claims())).user_id == USER


@pytest.mark.parametrize(
    "text",
    ["", ".", "..", "a.b.c", "a" * 100, "é.é.é", "\x00.\x00.\x00", "a.b.c.d.e", "null", "{}", "😀" * 50, "\ud800.a.b"],
)
def test_garbage_is_refused(text):
    assert refused(text)


def test_a_token_is_measured_before_it_is_parsed():
    assert refused(token(extra="x" * auth.TOKEN_CHARS_MAX))
    assert verify_token(token(extra="x" * 3_000)).user_id == USER


@pytest.mark.parametrize("change", ["\n", " ", "\r\n", "=", "\t", "\x00"])
def test_a_token_has_one_spelling(change):
    good = token()
    assert refused(good + change)
    assert refused(change + good)


def test_other_padding_bits_of_the_signature_are_refused():
    head, signature = token().rsplit(".", 1)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twins = [
        signature[:-1] + letter
        for letter in alphabet
        if letter != signature[-1]
        and base64.urlsafe_b64decode(signature[:-1] + letter + "=") == base64.urlsafe_b64decode(signature + "=")
    ]
    assert len(twins) == 3  # 32 bytes leave two bits of the last letter over
    assert all(refused(f"{head}.{twin}") for twin in twins)


@pytest.mark.parametrize(
    "algorithm", ["none", "None", "nOnE", "NONE", "", "HS384", "HS512", "RS256", "hs256", None, 1, []]
)
def test_no_algorithm_but_the_configured_one(algorithm):
    assert refused(handmade({"alg": algorithm, "typ": "JWT"}, claims()))
    unsigned = handmade({"alg": algorithm, "typ": "JWT"}, claims()).rsplit(".", 1)[0]
    assert refused(unsigned + ".")
    assert refused(unsigned + ".AA")
    assert refused(unsigned)


def test_a_missing_algorithm_and_a_wrong_key_are_refused():
    assert refused(handmade({"typ": "JWT"}, claims()))
    assert refused(token(key=SECRET + "!"))
    assert refused(handmade({"alg": "HS256"}, claims(), b""))


@pytest.mark.parametrize(
    "header",
    [
        {"kid": "../../../dev/null"},
        {"kid": "' UNION SELECT 'secret"},
        {"kid": "https://evil.example/key"},
        {"kid": ""},
        {"kid": "any"},
        {"jku": "https://evil.example/jwks.json"},
        {"x5u": "https://evil.example/x.pem"},
        {"x5c": ["AAAA"]},
        {"jwk": {"kty": "oct", "k": "AAAA"}},
        {"crit": ["exp"]},
        {"crit": ["b64"], "b64": True},
        {"b64": False},
        {"zip": "DEF"},
        {"typ": "refresh+jwt"},
        {"typ": 3},
    ],
)
def test_a_header_brings_nothing(header):
    assert refused(handmade({"alg": "HS256", "typ": "JWT"} | header, claims()))


@pytest.mark.parametrize("name", ["sub", "device", "iss", "aud", "iat", "exp", "jti"])
def test_every_claim_is_required(name):
    assert refused(jwt.encode(claims(**{name: ...}), SECRET))
    assert refused(handmade({"alg": "HS256"}, claims(**{name: None})))


NOW = time.time()


@pytest.mark.parametrize(
    "change",
    [
        {"sub": "alice"},
        {"sub": ""},
        {"sub": str(UUID(int=0))},
        {"sub": "{" + str(USER) + "}"},
        {"sub": 7},
        {"device": "phone"},
        {"device": str(UUID(int=0))},
        {"device": ["a"]},
        {"iss": "evil"},
        {"iss": ["whispr"]},
        {"aud": "other"},
        {"aud": ["other"]},
        {"aud": []},
        {"aud": {}},
        {"jti": ""},
        {"jti": "j" * 129},
        {"jti": 7},
        {"exp": NOW - LIMITS.token_leeway - 5, "iat": NOW - 600},
        {"exp": str(int(NOW + 600))},
        {"exp": True},
        {"exp": 1e308},
        {"exp": 10**400},
        {"exp": NOW + 100 * 365 * 86_400},
        {"exp": NOW + 100 * 365 * 86_400, "iat": NOW + 100 * 365 * 86_400 - 60},
        {"iat": NOW + LIMITS.token_leeway + 60},
        {"iat": "now"},
        {"iat": NOW - 86_400, "exp": NOW - 86_400 + LIMITS.token_lifetime_max + 1},
        {"iat": NOW + 20, "exp": NOW + 10},
        {"nbf": NOW + LIMITS.token_leeway + 60},
        {"nbf": "soon"},
        {"typ": "Refresh"},
        {"token_use": "id"},
        {"token_type": "refresh"},
        {"type": "refresh"},
    ],
    ids=str,
)
def test_a_bad_claim_is_refused(change):
    # The times above were taken when the tests were collected, which may be minutes ago.
    late = time.time() - NOW
    change = {
        name: value + late if isinstance(value, float) and value < 1e12 else value for name, value in change.items()
    }
    assert refused(handmade({"alg": "HS256"}, claims(**change)))


@pytest.mark.parametrize(
    "payload",
    [b"", b"{", b"[]", b'"x"', b"7", b'{"exp": NaN}', b"[" * 3_000, b"\xff\xfe", b'{"exp": 1e999}'],
    ids=lambda p: repr(p[:12]),
)
def test_a_signed_payload_that_is_no_claims_is_refused(payload):
    assert refused(handmade({"alg": "HS256"}, payload))


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_times_that_are_no_numbers_are_refused(constant):
    body = json.dumps(claims(exp="X")).replace('"X"', constant).encode()
    assert refused(handmade({"alg": "HS256"}, body))


def test_what_issuers_add_is_no_reason_to_refuse():
    good = token(aud=["other", "whispr"], nbf=int(time.time()), typ="Bearer", scope="a b", type="user")
    assert verify_token(good).user_id == USER
    assert verify_token(token(headers={"typ": "at+jwt"})).user_id == USER


def test_the_leeway_is_the_limit_and_no_more():
    with time_machine.travel(1_800_000_000, tick=False) as clock:
        good = token()
        clock.shift(600 + LIMITS.token_leeway - 1)
        assert verify_token(good).user_id == USER
        clock.shift(1)
        assert refused(good)


def test_the_longest_lifetime():
    now = int(time.time())
    assert (
        verify_token(token(iat=now, exp=now + LIMITS.token_lifetime_max)).expires_at == now + LIMITS.token_lifetime_max
    )
    assert refused(token(iat=now, exp=now + LIMITS.token_lifetime_max + 1))


def test_settings_are_read_again_when_they_change(settings):
    before = token()
    assert verify_token(before).user_id == USER
    settings.WHISPR_JWT_SECRET = "another secret that is long enough for HS256"
    assert refused(before)
    settings.WHISPR_JWT_SECRET = SECRET
    settings.WHISPR_JWT_AUDIENCE = "elsewhere"
    assert refused(before)


@pytest.mark.parametrize(
    "change",
    [
        {"WHISPR_JWT_SECRET": ""},
        {"WHISPR_JWT_SECRET": "short"},
        {"WHISPR_JWT_ALGORITHMS": []},
        {"WHISPR_JWT_ALGORITHMS": ["none"]},
        {"WHISPR_JWT_ALGORITHMS": ["HS256", "RS256"]},
        {"WHISPR_JWT_ALGORITHMS": ["RS256"]},
        {"WHISPR_JWT_ISSUER": ""},
        {"WHISPR_JWT_AUDIENCE": ""},
    ],
    ids=str,
)
def test_settings_without_sense_refuse_everything(settings, change):
    good, empty_key = token(), handmade({"alg": "HS256"}, claims(), b"")
    for name, value in change.items():
        setattr(settings, name, value)
    assert refused(good)
    assert refused(empty_key)
    assert refused(handmade({"alg": "none"}, claims()))


def test_ready_says_whether_a_token_could_be_verified(settings):
    assert auth.ready()
    assert auth.wait_ready(0)
    settings.WHISPR_JWT_SECRET = ""
    assert not auth.ready()


# --- public keys ---


def jwk(algorithm, key, kid: str, **more) -> dict:
    return json.loads(algorithm.to_jwk(key)) | {"kid": kid} | more


@pytest.fixture
def jwks(settings, tmp_path: Path) -> Path:
    path = tmp_path / "jwks.json"
    keys = [
        jwk(RSAAlgorithm, RSA_KEY.public_key(), "rsa", alg="RS256", use="sig"),
        jwk(ECAlgorithm, EC_KEY.public_key(), "ec"),
        jwk(OKPAlgorithm, ED_KEY.public_key(), "ed", alg="EdDSA"),
    ]
    path.write_text(json.dumps({"keys": keys}))
    settings.WHISPR_JWT_ALGORITHMS = ["RS256", "ES256", "EdDSA"]
    settings.WHISPR_JWT_JWKS_URL = path.as_uri()
    assert auth.wait_ready(5)
    return path


SIGNERS = [("RS256", RSA_KEY, "rsa"), ("ES256", EC_KEY, "ec"), ("EdDSA", ED_KEY, "ed")]


@pytest.mark.usefixtures("jwks")
@pytest.mark.parametrize(("algorithm", "key", "kid"), SIGNERS)
def test_each_public_key_verifies_its_own_algorithm(algorithm, key, kid):
    assert verify_token(token({"kid": kid}, key, algorithm)).user_id == USER
    for other in {"rsa", "ec", "ed", "unknown", "../../dev/null", "' OR 1=1 --", "k" * 10_000} - {kid}:
        assert refused(token({"kid": other[:3_000]}, key, algorithm))
    assert refused(token(None, key, algorithm))


@pytest.mark.usefixtures("jwks")
def test_a_kid_that_is_no_text_is_refused():
    for kid in (7, None, ["rsa"], {"a": 1}):
        assert refused(handmade({"alg": "RS256", "kid": kid}, claims()))


@pytest.mark.usefixtures("jwks")
def test_a_public_key_is_no_shared_secret():
    pem = RSA_KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    der = RSA_KEY.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    for secret in (pem, pem.strip(), pem.replace(b"\n", b"\r\n"), b" " + pem, der, b""):
        for kid in ("rsa", "ec", "ed"):
            assert refused(handmade({"alg": "HS256", "kid": kid}, claims(), secret))
    assert refused(handmade({"alg": "HS256", "kid": "rsa"}, claims(), SECRET.encode()))


@pytest.mark.usefixtures("jwks")
def test_an_algorithm_that_is_not_configured_is_refused(settings):
    settings.WHISPR_JWT_ALGORITHMS = ["EdDSA"]
    assert auth.wait_ready(5)
    assert verify_token(token({"kid": "ed"}, ED_KEY, "EdDSA")).user_id == USER
    assert refused(token({"kid": "rsa"}, RSA_KEY, "RS256"))


@pytest.mark.usefixtures("jwks")
def test_tokens_are_not_made_where_another_signs():
    from django.core.exceptions import ImproperlyConfigured

    with pytest.raises(ImproperlyConfigured):
        make_token(USER, DEVICE)
