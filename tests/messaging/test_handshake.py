"""The handshake on bare ASGI scopes: where tokens are looked for, and which origins may connect (rows 24, 31 to 33)."""

import base64
import time
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from messaging.events import Actor
from messaging.handshake import origin_allowed, session_authenticate
from messaging.services.devices import device_register_seen, device_revoke
from messaging.services.tickets import ticket_create
from messaging.store.tickets import tickets_close
from whispr.kernel import auth
from whispr.kernel.auth import Claims
from whispr.kernel.errors import Forbidden, Unauthenticated, WhisprError
from whispr.kernel.tokens import make_token

SECRET = "a secret of the tests, which is long enough for HS256"


@pytest.fixture(autouse=True)
def _settings(settings):
    settings.WHISPR_JWT_ALGORITHMS = ["HS256"]
    settings.WHISPR_JWT_SECRET = SECRET
    settings.WHISPR_ALLOW_QUERY_TOKEN = False
    settings.WHISPR_ALLOWED_ORIGINS = ["https://chat.example.org", "http://localhost:5173", "capacitor://localhost"]
    settings.ALLOWED_HOSTS = ["api.example.org", "127.0.0.1"]
    yield
    auth.stop()


def scope(
    *headers: tuple[str, str],
    query: str | bytes = "vsn=2.0.0",
    subprotocols: list[str] | None = None,
    scheme: str = "ws",
    client: tuple[str, int] | None = ("192.0.2.1", 5000),
) -> dict[str, Any]:
    return {
        "type": "websocket",
        "scheme": scheme,
        "path": "/socket/websocket",
        "query_string": query.encode() if isinstance(query, str) else query,
        "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers],
        "subprotocols": subprotocols or [],
        "client": client,
    }


def offer(token: str, *, standard: bool = False, padded: bool = False) -> str:
    encoded = (base64.b64encode if standard else base64.urlsafe_b64encode)(token.encode()).decode()
    return "base64url.bearer.phx." + (encoded if padded else encoded.rstrip("="))


class Person:
    def __init__(self) -> None:
        self.user_id, self.device_id = uuid4(), uuid4()
        self.token = make_token(self.user_id, self.device_id)
        self.actor = Actor(self.user_id, self.device_id)

    @property
    def bearer(self) -> tuple[str, str]:
        return ("Authorization", f"Bearer {self.token}")


@pytest.fixture
def ann() -> Person:
    return Person()


@pytest.fixture
def bob() -> Person:
    return Person()


async def refused(given: dict[str, Any]) -> bool:
    with pytest.raises(Unauthenticated):
        await session_authenticate(given)
    return True


database = pytest.mark.django_db(transaction=True)


@database
@pytest.mark.parametrize("standard", [False, True])
@pytest.mark.parametrize("padded", [False, True])
async def test_the_subprotocol_of_phoenix_js(ann, standard, padded):
    offered = offer(ann.token, standard=standard, padded=padded)
    actor, claims, subprotocol = await session_authenticate(scope(subprotocols=["phoenix", offered]))
    assert (actor, claims.device_id, subprotocol) == (ann.actor, ann.device_id, "phoenix")
    # Beside nothing else there is nothing to answer: the token is never echoed.
    assert (await session_authenticate(scope(subprotocols=[offered])))[2] is None


@database
async def test_the_header(ann):
    assert await session_authenticate(scope(ann.bearer)) == (ann.actor, auth.verify_token(ann.token), None)
    lower = ("authorization", f"bearer  {ann.token} ")
    assert (await session_authenticate(scope(lower, subprotocols=["phoenix"])))[2] == "phoenix"


@database
async def test_the_ticket_is_for_one_socket(ann):
    claims = auth.verify_token(ann.token)
    ticket = await ticket_create(ann.actor, claims, "192.0.2.1")
    given = scope(query=f"vsn=2.0.0&ticket={ticket.ticket}")
    assert await session_authenticate(given) == (ann.actor, claims, None)
    assert await refused(given)
    elsewhere = await ticket_create(ann.actor, claims, "192.0.2.1")
    assert await refused(scope(query=f"ticket={elsewhere.ticket}", client=("192.0.2.9", 1)))
    await tickets_close()


@database
async def test_the_query_token_only_where_it_is_allowed(settings, ann):
    given = scope(query=f"vsn=2.0.0&token={ann.token}")
    assert await refused(given)
    settings.WHISPR_ALLOW_QUERY_TOKEN = True
    assert (await session_authenticate(given))[0] == ann.actor


@database
async def test_the_first_match_decides(settings, ann, bob):
    settings.WHISPR_ALLOW_QUERY_TOKEN = True
    query = f"token={bob.token}"
    by_subprotocol = await session_authenticate(scope(bob.bearer, query=query, subprotocols=[offer(ann.token)]))
    assert by_subprotocol[0] == ann.actor
    assert (await session_authenticate(scope(ann.bearer, query=query)))[0] == ann.actor
    # A bad one is not made good by the next.
    assert await refused(scope(bob.bearer, query=query, subprotocols=[offer("bad")]))
    assert await refused(scope(("Authorization", "Bearer bad"), query=query))
    assert await refused(scope(query=f"ticket=bad&token={bob.token}"))
    # Another scheme of authorization is none of ours.
    assert (await session_authenticate(scope(("Authorization", "Basic YTpi"), query=query)))[0] == bob.actor


@pytest.mark.parametrize(
    "given",
    [
        scope(),
        scope(("Authorization", "")),
        scope(("Authorization", "Bearer")),
        scope(("Authorization", "Bearer ")),
        scope(("Authorization", "Bearer \xff\xfe")),
        scope(("Authorization", "Basic YTpi")),
        scope(("Authorization", "Bearer a"), ("Authorization", "Bearer b")),
        scope(subprotocols=["base64url.bearer.phx."]),
        scope(subprotocols=["base64url.bearer.phx.!!!"]),
        scope(subprotocols=["base64url.bearer.phx.A"]),
        scope(subprotocols=["base64url.bearer.phx._____w"]),
        scope(subprotocols=["base64url.bearer.phx.é"]),
        scope(subprotocols=["base64url.bearer.phx." + "A" * 200_000]),
        scope(subprotocols=["base64url.bearer.phx.YQ", "base64url.bearer.phx.Yg"]),
        scope(query=b"ticket=\xff\xfe"),
        scope(query="ticket=%ff%fe"),
        scope(query="ticket=a&ticket=b"),
        scope(query="&".join(f"a{n}=1" for n in range(200))),
        scope(query="ticket=%00"),
        scope(query="token="),
        {"type": "websocket"},
        {"type": "websocket", "headers": None, "subprotocols": None, "query_string": None, "client": None},
    ],
    ids=lambda given: str(given.get("query_string"))[:20] + str(given.get("subprotocols"))[:40],
)
async def test_hostile_handshakes_are_refused(settings, given):
    settings.WHISPR_ALLOW_QUERY_TOKEN = True
    assert await refused(given)


@hypothesis_settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    headers=st.lists(
        st.tuples(st.sampled_from([b"authorization", b"origin", b"host", b"x"]), st.binary(max_size=60)), max_size=5
    ),
    subprotocols=st.lists(
        st.one_of(st.text(max_size=40), st.text(max_size=40).map("base64url.bearer.phx.".__add__)), max_size=3
    ),
    query=st.one_of(st.binary(max_size=60), st.binary(max_size=60).map(b"token=".__add__)),
)
async def test_no_handshake_raises_but_coded_errors(headers, subprotocols, query):
    with pytest.raises(WhisprError):
        await session_authenticate(
            {"type": "websocket", "headers": headers, "subprotocols": subprotocols, "query_string": query}
        )


@database
async def test_expired_revoked_and_foreign(ann, bob):
    old = make_token(ann.user_id, ann.device_id, 1)
    assert await refused(scope(("Authorization", f"Bearer {old[:-2]}")))
    await device_register_seen(ann.user_id, ann.device_id)
    foreign = make_token(bob.user_id, ann.device_id)
    assert await refused(scope(("Authorization", f"Bearer {foreign}")))
    await device_revoke(ann.actor, ann.device_id)
    assert await refused(scope(ann.bearer))
    claims = Claims(ann.user_id, ann.device_id, int(time.time()) + 60, int(time.time()), "j")
    ticket = await ticket_create(ann.actor, claims)
    assert await refused(scope(query=f"ticket={ticket.ticket}"))
    await tickets_close()


# --- origins ---


def origin(value: str, host: str | None = "api.example.org", **more: Any) -> bool:
    headers = [("Origin", value)] + ([("Host", host)] if host is not None else [])
    return origin_allowed(scope(*headers, **more))


def test_a_native_client_has_no_origin():
    assert origin_allowed(scope(("Host", "api.example.org")))
    assert origin_allowed({"type": "websocket"})


@pytest.mark.parametrize(
    "value",
    [
        "https://chat.example.org",
        "https://chat.example.org:443",
        "HTTPS://Chat.Example.Org",
        "http://localhost:5173",
        "capacitor://localhost",
        "http://api.example.org",
        "http://api.example.org:80",
    ],
)
def test_allowed_origins(value):
    assert origin(value)


@pytest.mark.parametrize(
    "value",
    [
        "null",
        "",
        "*",
        "https://evil.example",
        "http://chat.example.org",
        "https://chat.example.org:8443",
        "https://chat.example.org.evil.example",
        "https://chat.example.org@evil.example",
        "https://evil.example#https://chat.example.org",
        "https://chat.example.org/",
        "https://chat.example.org?",
        "https://chat.example.org:",
        "https://chat.example.org:99999",
        "https://[chat",
        "//chat.example.org",
        "chat.example.org",
        "http://localhost",
        "http://localhost:5174",
        "https://localhost:5173",
        "http://api.example.org:8081",
        "https://api.example.org",
        " https://chat.example.org",
        "https://chat.example.org\t",
        "https://chat.example.org https://evil.example",
        "https://cha\xadt.example.org",
        "file://",
    ],
)
def test_refused_origins(value):
    assert not origin(value)


def test_the_pages_own_origin_is_what_host_spells():
    assert origin("http://127.0.0.1:8000", "127.0.0.1:8000")
    assert not origin("http://127.0.0.1:8001", "127.0.0.1:8000")
    assert not origin("http://127.0.0.1", "127.0.0.1:8000")
    assert origin("https://api.example.org", "api.example.org", scheme="wss")
    assert not origin("http://api.example.org", "api.example.org", scheme="wss")
    assert not origin("http://api.example.org", None)


def test_a_name_that_an_attacker_points_here_is_not_this_server():
    assert not origin("http://rebound.example:8000", "rebound.example:8000")
    for host in ("", "*", "[", "api.example.org@x", "api.example.org/", "api.example.org:x", "a b"):
        assert not origin(f"http://{host}", host)


def test_two_origins_or_two_hosts_are_nobodys():
    good = ("Origin", "https://chat.example.org")
    assert not origin_allowed(scope(good, good))
    host = ("Host", "api.example.org")
    assert not origin_allowed(scope(("Origin", "http://api.example.org"), host, host))


def test_tls_ends_at_a_trusted_proxy(settings):
    proto = ("X-Forwarded-Proto", "https")
    page = [("Origin", "https://api.example.org"), ("Host", "api.example.org")]
    assert not origin_allowed(scope(*page, proto))
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    assert origin_allowed(scope(*page, proto))
    assert not origin_allowed(scope(*page))


async def test_a_refused_origin_is_refused_before_any_token(ann):
    with pytest.raises(Forbidden):
        await session_authenticate(scope(("Origin", "https://evil.example"), ann.bearer))
