"""REST's authentication: the header alone, and a revoked device's tokens within seconds."""

from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from django.test import RequestFactory
from rest_framework.request import Request

from messaging.api.authentication import AuthenticatedUser, BearerAuthentication, authenticate_async, bearer_token
from messaging.events import Actor
from messaging.models import Device
from messaging.services import devices
from whispr.kernel import auth
from whispr.kernel.errors import Unauthenticated
from whispr.kernel.tokens import make_token

pytestmark = pytest.mark.django_db(transaction=True)
SECRET = "a secret of the tests, which is long enough for HS256"


@pytest.fixture(autouse=True)
def _hs256(settings):
    settings.WHISPR_JWT_ALGORITHMS = ["HS256"]
    settings.WHISPR_JWT_SECRET = SECRET
    settings.WHISPR_ALLOW_QUERY_TOKEN = True  # it concerns the socket only
    yield
    auth.stop()


def request(path: str = "/api/v1/messages", **headers: str) -> Request:
    return Request(RequestFactory().get(path, headers=headers), authenticators=[BearerAuthentication()])


def test_the_header_says_who_asks():
    user, device = uuid4(), uuid4()
    asked = request(authorization=f"Bearer {make_token(user, device)}")
    assert isinstance(asked.user, AuthenticatedUser)
    assert asked.user.actor == Actor(user, device)
    assert (asked.user.claims.device_id, asked.user.pk, asked.auth) == (device, str(user), asked.user.claims)
    assert asked.user.is_authenticated
    assert not asked.user.is_staff
    assert Device.objects.get(id=device).user_id == user


@pytest.mark.parametrize("value", [None, "", "Bearer", "Bearer ", "Basic YTpi", "Token x", "Bearer x y", "bearer"])
def test_what_is_no_token(value):
    headers = {} if value is None else {"authorization": value}
    with pytest.raises(Unauthenticated):
        _ = request(**headers).user


def test_no_other_place_is_looked_at():
    token = make_token(uuid4(), uuid4())
    for asked in (
        request(f"/api/v1/messages?token={token}"),
        request(cookie=f"token={token}"),
        request(**{"x-user-id": str(uuid4()), "x-forwarded-user": "root"}),
    ):
        with pytest.raises(Unauthenticated):
            _ = asked.user


def test_a_foreign_and_a_revoked_device(monkeypatch):
    user, device = uuid4(), uuid4()
    _ = request(authorization=f"Bearer {make_token(user, device)}").user
    with pytest.raises(Unauthenticated):
        _ = request(authorization=f"Bearer {make_token(uuid4(), device)}").user
    # Revoked by another process: remembered here for some seconds, then known.
    Device.objects.filter(id=device).update(revoked_at="2026-01-01T00:00:00Z")
    assert request(authorization=f"Bearer {make_token(user, device)}").user.is_authenticated
    devices.device_forget(user, device)
    with pytest.raises(Unauthenticated):
        _ = request(authorization=f"Bearer {make_token(user, device)}").user


def test_what_is_remembered_is_remembered_for_seconds(monkeypatch):
    assert devices.ADMISSION_SECONDS < 5
    monkeypatch.setattr(devices, "ADMISSION_SECONDS", 0.0)
    user, device = uuid4(), uuid4()
    _ = request(authorization=f"Bearer {make_token(user, device)}").user
    Device.objects.filter(id=device).update(revoked_at="2026-01-01T00:00:00Z")
    with pytest.raises(Unauthenticated):
        _ = request(authorization=f"Bearer {make_token(user, device)}").user


async def test_the_same_for_an_event_loop():
    user, device = uuid4(), uuid4()
    header = f"Bearer {make_token(user, device)}"
    assert (await authenticate_async(header)).actor == Actor(user, device)
    assert (await authenticate_async(header)).actor == Actor(user, device)
    for bad in (None, "", "Bearer x"):
        with pytest.raises(Unauthenticated):
            await authenticate_async(bad)
    exists = await sync_to_async(Device.objects.filter(id=device).exists)()
    assert exists


def test_a_scheme_is_no_matter_of_case():
    assert bearer_token("bEaReR  abc ") == "abc"


def test_a_401_has_its_challenge():
    assert BearerAuthentication().authenticate_header(request()) == 'Bearer realm="whispr"'
