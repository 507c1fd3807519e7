"""Devices, on a real PostgreSQL: whose they are, their keys, their limits, and whom a conversation encrypts for."""

import asyncio
import base64
import json
from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from django.db.models import F
from nacl.public import PrivateKey
from nacl.signing import SigningKey

from messaging.devices import RegisterDevice, UpdateDevice, UpdateSettings
from messaging.events import Actor
from messaging.fanout.hub import hub
from messaging.fanout.news import UserChange
from messaging.models import Conversation, Device, Member
from messaging.services import devices as service
from whispr.kernel.errors import BadRequest, Forbidden, NotFound, TooLarge, Unauthenticated, WhisprError
from whispr.kernel.limits import LIMITS

pytestmark = pytest.mark.django_db(transaction=True)


def key() -> str:
    return base64.b64encode(SigningKey.generate().verify_key.encode()).decode()


def encryption_key() -> str:
    return base64.b64encode(PrivateKey.generate().public_key.encode()).decode()


def new_actor() -> Actor:
    return Actor(uuid4(), uuid4())


@pytest.fixture
def changes() -> Iterator[list[tuple[UUID, str, dict]]]:
    """What the fan-out is told of users, as this process's sockets would hear it."""
    heard: list[tuple[UUID, str, dict]] = []

    def watch(news) -> None:
        if isinstance(news, UserChange):
            heard.append((news.user_id, news.kind, json.loads(news.payload)))

    hub.watchers.append(watch)
    yield heard
    hub.watchers.remove(watch)


async def refusal(work) -> WhisprError:
    with pytest.raises(WhisprError) as caught:
        await work
    return caught.value


# --- at every connect ---


async def test_a_device_is_registered_by_its_first_token():
    actor = new_actor()
    assert await service.device_register_seen(actor.user_id, actor.device_id) == actor
    assert await service.device_register_seen(actor.user_id, actor.device_id) == actor
    row = await Device.objects.aget(id=actor.device_id)
    assert (row.user_id, row.public_key, row.revoked_at) == (actor.user_id, None, None)


async def test_last_seen_is_written_at_most_once_a_minute():
    actor = new_actor()
    await service.device_register_seen(actor.user_id, actor.device_id)
    rows = Device.objects.filter(id=actor.device_id)
    await rows.aupdate(last_seen_at=F("last_seen_at") - timedelta(seconds=50))
    before = (await rows.aget()).last_seen_at
    await service.device_register_seen(actor.user_id, actor.device_id)
    assert (await rows.aget()).last_seen_at == before
    await rows.aupdate(last_seen_at=F("last_seen_at") - timedelta(seconds=20))
    await service.device_register_seen(actor.user_id, actor.device_id)
    assert (await rows.aget()).last_seen_at > before + timedelta(seconds=40)


async def test_a_device_of_another_user_is_refused_and_not_touched():
    owner, thief = new_actor(), uuid4()
    await service.device_register_seen(owner.user_id, owner.device_id)
    with pytest.raises(Unauthenticated):
        await service.device_register_seen(thief, owner.device_id)
    assert (await Device.objects.aget(id=owner.device_id)).user_id == owner.user_id
    assert not await Device.objects.filter(user_id=thief).aexists()


async def test_two_users_who_bring_one_new_device_at_once():
    device, users = uuid4(), [uuid4() for _ in range(8)]
    results = await asyncio.gather(
        *(service.device_register_seen(user, device) for user in users), return_exceptions=True
    )
    winners = [result for result in results if isinstance(result, Actor)]
    assert len(winners) == 1
    assert all(isinstance(result, Actor | Unauthenticated) for result in results)
    assert (await Device.objects.aget(id=device)).user_id == winners[0].user_id


async def test_the_registered_key_comes_with_the_actor():
    actor = new_actor()
    public_key = key()
    await service.device_register(actor, RegisterDevice(public_key=public_key))
    seen = await service.device_register_seen(actor.user_id, actor.device_id)
    assert seen.public_key == base64.b64decode(public_key)


async def test_the_limit_of_devices_holds_under_concurrency():
    user = uuid4()
    results = await asyncio.gather(
        *(service.device_register_seen(user, uuid4()) for _ in range(LIMITS.devices_per_user + 10)),
        return_exceptions=True,
    )
    assert sum(isinstance(result, Actor) for result in results) == LIMITS.devices_per_user
    assert sum(isinstance(result, Forbidden) for result in results) == 10
    assert await Device.objects.filter(user_id=user).acount() == LIMITS.devices_per_user
    # A known device still connects, and a revoked one makes room.
    first = await Device.objects.filter(user_id=user)[:1].aget()
    actor = await service.device_register_seen(user, first.id)
    await service.device_revoke(actor, first.id)
    await service.device_register_seen(user, uuid4())


async def test_rest_remembers_a_yes_for_seconds_but_not_past_a_revocation_here():
    actor = new_actor()
    assert service.device_admitted(actor.user_id, actor.device_id) is None
    await service.device_register_seen(actor.user_id, actor.device_id)
    assert service.device_admitted(actor.user_id, actor.device_id) == actor
    assert service.device_admitted(uuid4(), actor.device_id) is None
    await service.device_revoke(actor, actor.device_id)
    assert service.device_admitted(actor.user_id, actor.device_id) is None


# --- POST devices ---


async def test_registering_is_idempotent(changes):
    actor = new_actor()
    request = RegisterDevice(
        id=actor.device_id,
        public_key=key(),
        encryption_key=encryption_key(),
        name="Phone",
        platform="ios",
        push_token="p",
    )
    device, created = await service.device_register(actor, request)
    assert created
    assert (device.id, device.user_id, device.name, device.platform) == (actor.device_id, actor.user_id, "Phone", "ios")
    assert device.public_key == base64.b64decode(request.public_key)
    assert device.encryption_key == base64.b64decode(request.encryption_key or "")
    assert device.has_push_token
    assert changes == [(actor.user_id, "device_key", {"deviceId": str(actor.device_id)})]
    assert await service.device_register(actor, request) == (device, False)
    assert len(changes) == 1


async def test_a_device_that_connected_first_gets_its_key_later(changes):
    actor = new_actor()
    await service.device_register_seen(actor.user_id, actor.device_id)
    device, created = await service.device_register(actor, RegisterDevice(public_key=key(), name="Phone"))
    assert not created
    assert (device.id, device.name) == (actor.device_id, "Phone")
    assert [kind for _, kind, _ in changes] == ["device_key"]


async def test_only_the_device_itself_changes_its_keys(changes):
    actor = new_actor()
    await service.device_register(actor, RegisterDevice(public_key=key()))
    sibling = Actor(actor.user_id, uuid4())
    await service.device_register_seen(sibling.user_id, sibling.device_id)
    before = await Device.objects.aget(id=actor.device_id)
    changes.clear()
    for work in (
        service.device_register(sibling, RegisterDevice(id=actor.device_id, public_key=key())),
        service.device_update(sibling, actor.device_id, UpdateDevice(public_key=key())),
        service.device_update(sibling, actor.device_id, UpdateDevice(encryption_key=encryption_key())),
        # The first key of a device is its own too.
        service.device_register(actor, RegisterDevice(id=sibling.device_id, public_key=key())),
    ):
        assert isinstance(await refusal(work), Forbidden)
    assert (await Device.objects.aget(id=actor.device_id)).public_key == before.public_key
    assert (await Device.objects.aget(id=sibling.device_id)).public_key is None
    assert changes == []
    renamed = await service.device_update(sibling, actor.device_id, UpdateDevice(name="Old phone"))
    assert (renamed.name, renamed.public_key) == ("Old phone", before.public_key)
    changed = await service.device_register(actor, RegisterDevice(public_key=(new := key())))
    assert changed[0].public_key == base64.b64decode(new)
    assert changes == [(actor.user_id, "device_key", {"deviceId": str(actor.device_id)})]


async def test_a_device_of_another_user_is_not_found():
    owner, stranger = new_actor(), new_actor()
    await service.device_register(owner, RegisterDevice(public_key=key(), name="Mine"))
    for work in (
        service.device_get(stranger, owner.device_id),
        service.device_register(stranger, RegisterDevice(id=owner.device_id, public_key=key())),
        service.device_update(stranger, owner.device_id, UpdateDevice(name="Yours")),
        service.device_revoke(stranger, owner.device_id),
    ):
        error = await refusal(work)
        assert error.body() == NotFound().body()
    row = await Device.objects.aget(id=owner.device_id)
    assert (row.name, row.revoked_at) == ("Mine", None)
    absent = await refusal(service.device_get(stranger, uuid4()))
    assert absent.body() == NotFound().body()


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("public_key", "", BadRequest),
        ("public_key", "not base64", BadRequest),
        ("public_key", base64.b64encode(bytes(31)).decode(), BadRequest),
        ("public_key", base64.b64encode(bytes(33)).decode(), TooLarge),
        ("public_key", "A" * 100_000, TooLarge),
        ("public_key", base64.b64encode(bytes(32)).decode(), BadRequest),  # y = 0 has small order
        ("public_key", base64.b64encode(bytes([1] + [0] * 31)).decode(), BadRequest),  # the identity
        ("public_key", base64.b64encode(b"\xff" * 32).decode(), BadRequest),  # no field element
        ("encryption_key", base64.b64encode(bytes(32)).decode(), BadRequest),  # low order
        ("encryption_key", base64.b64encode(bytes([1] + [0] * 31)).decode(), BadRequest),
        ("encryption_key", base64.b64encode(bytes(31)).decode(), BadRequest),
        ("name", "a\x00b", BadRequest),
        ("name", "line\nbreak", BadRequest),
        ("platform", "\x1b[31m", BadRequest),
        ("push_token", "\ud800", BadRequest),
        ("id", UUID(int=0), BadRequest),
    ],
)
async def test_what_is_no_device_is_refused(field, value, expected):
    actor = new_actor()
    request = RegisterDevice(**({"public_key": key()} | {field: value}))
    assert type(await refusal(service.device_register(actor, request))) is expected
    assert not await Device.objects.filter(user_id=actor.user_id).aexists()


async def test_a_new_device_counts_towards_the_limit():
    actor = new_actor()
    await Device.objects.abulk_create(Device(user_id=actor.user_id) for _ in range(LIMITS.devices_per_user))
    error = await refusal(service.device_register(actor, RegisterDevice(public_key=key())))
    assert isinstance(error, Forbidden)
    assert error.details == {"max": LIMITS.devices_per_user}


# --- revoking ---


async def test_revoking_is_for_good(changes):
    actor = new_actor()
    sibling = Actor(actor.user_id, uuid4())
    await service.device_register(actor, RegisterDevice(public_key=key(), push_token="secret"))
    await service.device_register_seen(sibling.user_id, sibling.device_id)
    changes.clear()
    await service.device_revoke(sibling, actor.device_id)
    assert changes == [(actor.user_id, "revoked", {"deviceId": str(actor.device_id)})]
    await service.device_revoke(sibling, actor.device_id)  # again: no error
    with pytest.raises(Unauthenticated):
        await service.device_register_seen(actor.user_id, actor.device_id)
    assert isinstance(
        await refusal(service.device_register(sibling, RegisterDevice(id=actor.device_id, public_key=key()))), Forbidden
    )
    assert isinstance(
        await refusal(service.device_update(sibling, actor.device_id, UpdateDevice(name="back"))), Forbidden
    )
    row = await Device.objects.aget(id=actor.device_id)
    assert row.revoked_at is not None
    assert row.push_token == ""
    states = await service.device_states([actor.device_id, sibling.device_id, uuid4()])
    assert {device: state.revoked for device, state in states.items()} == {
        actor.device_id: True,
        sibling.device_id: False,
    }


async def test_the_list_holds_ones_own_devices():
    actor, stranger = new_actor(), new_actor()
    first = (await service.device_register(actor, RegisterDevice(public_key=key(), push_token="secret")))[0]
    second = (await service.device_register(actor, RegisterDevice(id=uuid4(), public_key=key())))[0]
    await service.device_register_seen(stranger.user_id, stranger.device_id)
    assert await service.devices_list(actor) == (first, second)
    await service.device_revoke(actor, first.id)
    after = await service.devices_list(actor)
    assert [(device.id, device.revoked_at is None) for device in after] == [(second.id, True), (first.id, False)]
    assert [device.id for device in await service.devices_list(stranger)] == [stranger.device_id]


# --- whom to encrypt for ---


async def conversation_of(*members: UUID, left: tuple[UUID, ...] = ()) -> UUID:
    conversation = await Conversation.objects.acreate(
        type="group", created_by=members[0], members_version=7, last_seq=9, member_count=len(members)
    )
    await Member.objects.abulk_create(Member(conversation=conversation, user_id=user, joined_seq=1) for user in members)
    await Member.objects.abulk_create(
        Member(conversation=conversation, user_id=user, joined_seq=1, left_seq=4) for user in left
    )
    return conversation.id


async def test_the_devices_of_a_conversation():
    ann, bob, gone, stranger = new_actor(), new_actor(), new_actor(), new_actor()
    views = {
        actor: (await service.device_register(actor, RegisterDevice(public_key=key())))[0] for actor in (ann, bob, gone)
    }
    second = (
        await service.device_register(
            ann, RegisterDevice(id=uuid4(), public_key=key(), encryption_key=encryption_key(), name="private")
        )
    )[0]
    lost = (await service.device_register(ann, RegisterDevice(id=uuid4(), public_key=key())))[0]
    await service.device_revoke(ann, lost.id)
    silent = uuid4()  # a member who never connected
    conversation_id = await conversation_of(ann.user_id, bob.user_id, silent, left=(gone.user_id,))
    found = await service.conversation_devices(bob, conversation_id)
    assert found.members_version == 7
    assert {(d.id, d.user_id, d.public_key, d.encryption_key) for d in found.devices} == {
        (d.id, d.user_id, d.public_key, d.encryption_key) for d in (views[ann], views[bob], second)
    }
    assert len(found.devices) == 3
    for outsider in (gone, stranger):
        assert isinstance(await refusal(service.conversation_devices(outsider, conversation_id)), NotFound)
    assert isinstance(await refusal(service.conversation_devices(ann, uuid4())), NotFound)
    await Conversation.objects.filter(id=conversation_id).aupdate(deleted_at=F("created_at"))
    assert isinstance(await refusal(service.conversation_devices(bob, conversation_id)), NotFound)


# --- settings ---


async def test_settings_have_defaults_and_are_kept(changes):
    actor = new_actor()
    assert (await service.user_settings_get(actor)).read_receipts is True
    assert (await service.user_settings_update(actor, UpdateSettings())).read_receipts is True
    assert changes == []
    assert (await service.user_settings_update(actor, UpdateSettings(read_receipts=False))).read_receipts is False
    assert (await service.user_settings_get(actor)).read_receipts is False
    assert (await service.user_settings_update(actor, UpdateSettings(read_receipts=True))).read_receipts is True
    assert changes == [
        (actor.user_id, "settings", {"readReceipts": False, "shareLastSeen": True}),
        (actor.user_id, "settings", {"readReceipts": True, "shareLastSeen": True}),
    ]


# --- push tokens ---


async def test_a_push_token_is_the_last_ones_who_registered_it():
    ann, bob, cleo = new_actor(), new_actor(), new_actor()

    async def holders() -> set[UUID]:
        return {device.id async for device in Device.objects.filter(push_token="phone")}

    await service.device_register(ann, RegisterDevice(public_key=key(), push_token="phone"))
    await service.device_register(ann, RegisterDevice(public_key=key(), push_token="phone"))
    assert await holders() == {ann.device_id}
    await service.device_register(bob, RegisterDevice(public_key=key(), push_token="phone"))
    assert await holders() == {bob.device_id}
    await service.device_register_seen(cleo.user_id, cleo.device_id)
    await service.device_update(cleo, cleo.device_id, UpdateDevice(push_token="phone"))
    assert await holders() == {cleo.device_id}
    assert not (await service.device_get(bob, bob.device_id)).has_push_token
    await service.device_update(cleo, cleo.device_id, UpdateDevice(push_token=""))
    assert await holders() == set()


async def test_of_many_who_register_a_push_token_at_once_one_has_it():
    actors = [new_actor() for _ in range(8)]
    for one in actors[:4]:
        await service.device_register_seen(one.user_id, one.device_id)
    await asyncio.gather(
        *(service.device_update(one, one.device_id, UpdateDevice(push_token="phone")) for one in actors[:4]),
        *(service.device_register(one, RegisterDevice(public_key=key(), push_token="phone")) for one in actors[4:]),
    )
    assert await Device.objects.filter(push_token="phone").acount() == 1
