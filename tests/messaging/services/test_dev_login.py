"""The development sign-in: any name, where it is on; nothing at all, where it is not."""

from uuid import uuid4

import pytest

from messaging.models import Device, DevPerson
from messaging.services.dev_login import NAME_CHARS_MAX, dev_login, dev_people_list
from messaging.services.devices import device_register_seen
from whispr.kernel import auth
from whispr.kernel.auth import verify_token
from whispr.kernel.errors import BadRequest, NotFound, Unauthenticated
from whispr.kernel.ids import user_id_of
from whispr.kernel.limits import LIMITS

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _on(settings):
    settings.WHISPR_DEV_LOGIN = True
    settings.WHISPR_JWT_ALGORITHMS = ["HS256"]
    settings.WHISPR_JWT_SECRET = "a secret of the tests, which is long enough for HS256"
    yield
    auth.stop()


async def test_a_name_is_always_the_same_user_on_a_new_device():
    first, second = await dev_login("alice"), await dev_login("  alice ")
    assert first.user_id == second.user_id == user_id_of("alice")
    assert first.device_id != second.device_id
    claims = verify_token(first.token)
    assert (claims.user_id, claims.device_id) == (first.user_id, first.device_id)
    assert {row.id async for row in Device.objects.filter(user_id=first.user_id)} == {first.device_id, second.device_id}


async def test_a_device_may_be_named_but_not_another_users():
    device = uuid4()
    assert (await dev_login("alice", device)).device_id == device
    assert (await dev_login("alice", device)).device_id == device
    with pytest.raises(Unauthenticated):
        await dev_login("bob", device)


async def test_people_are_listed_the_latest_first():
    for name in ("alice", "bob", "Zoë 😀", "alice"):
        await dev_login(name)
    assert [person.name for person in await dev_people_list()] == ["alice", "Zoë 😀", "bob"]
    assert (await dev_people_list())[0].user_id == user_id_of("alice")


@pytest.mark.parametrize("name", ["", "   ", "a" * (NAME_CHARS_MAX + 1), "a\x00b", "a\nb", "\ud800"])
async def test_what_is_no_name(name):
    with pytest.raises(BadRequest):
        await dev_login(name)
    assert not await DevPerson.objects.aexists()
    assert not await Device.objects.aexists()


async def test_signing_in_again_and_again_makes_room():
    user = user_id_of("alice")
    first = await dev_login("alice")
    for _ in range(LIMITS.devices_per_user):
        last = await dev_login("alice")
    assert await Device.objects.filter(user_id=user, revoked_at=None).acount() == LIMITS.devices_per_user
    with pytest.raises(Unauthenticated):
        await device_register_seen(user, first.device_id)
    await device_register_seen(user, last.device_id)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("WHISPR_DEV_LOGIN", False), ("WHISPR_JWT_SECRET", ""), ("WHISPR_JWT_ALGORITHMS", ["RS256"])],
)
async def test_where_it_is_off_there_is_nothing(settings, setting, value):
    setattr(settings, setting, value)
    with pytest.raises(NotFound):
        await dev_login("alice")
    assert not await DevPerson.objects.aexists()
    if setting == "WHISPR_DEV_LOGIN":
        with pytest.raises(NotFound):
            await dev_people_list()
