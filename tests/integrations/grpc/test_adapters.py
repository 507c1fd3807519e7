"""The services over gRPC: good answers, refusals, answers that make no sense, silence, certificates."""

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

import integrations
from delivery.events import Push, PushCandidate, PushDevice
from integrations.development.modes import Mode
from integrations.development.servers import DevelopmentService, Identity
from integrations.grpc.media import GrpcMedia
from integrations.grpc.notifications import GrpcNotifications
from integrations.grpc.users import GrpcUsers
from messaging.models import Block
from whispr.kernel import database
from whispr.kernel.breaker import breaker
from whispr.kernel.errors import BadRequest, InvalidMedia, NotFound, TemporaryUnavailable, Timeout
from whispr.kernel.limits import LIMITS
from whispr.kernel.remote_service import RemoteService

pytestmark = pytest.mark.django_db(transaction=True)


def users() -> GrpcUsers:
    found = integrations.user_service()
    assert isinstance(found, GrpcUsers)
    return found


def media(tmp_path) -> GrpcMedia:
    found = integrations.media_service(tmp_path)
    assert isinstance(found, GrpcMedia)
    return found


def notifications() -> GrpcNotifications:
    found = integrations.notification_service()
    assert isinstance(found, GrpcNotifications)
    return found


def push(**changes: object) -> Push:
    fields = {
        "key": str(uuid4()),
        "kind": "message",
        "user_id": uuid4(),
        "conversation_id": uuid4(),
        "message_ids": (uuid4(),),
        "count": 1,
        "badge": 2,
    }
    return Push(**fields | changes)


async def until_closed(name: str, work) -> None:
    """Ask until the circuit lets a call through again and it succeeds."""
    async with asyncio.timeout(30):
        while True:
            try:
                await work()
                break
            except (TemporaryUnavailable, Timeout):
                await asyncio.sleep(0.05)
    assert breaker(name).state == "closed"


# --- users


async def test_a_member_may_send_to_those_who_do_not_block_them(services):
    ann, bob, eve = uuid4(), uuid4(), uuid4()
    await database.run(Block.objects.create, user_id=eve, blocked_id=ann)
    found = await users().validate_message_permissions(ann, uuid4(), [ann, bob, eve], seconds=5)
    assert found.verdict == "granted"
    assert found.recipient_ids == {bob}


async def test_who_is_not_among_the_participants_is_no_member(services):
    found = await users().validate_message_permissions(uuid4(), uuid4(), [uuid4()], seconds=5)
    assert found.verdict == "not_a_member"


async def test_offline_recipients_are_asked_about(services):
    asked = [PushCandidate(uuid4(), uuid4()) for _ in range(3)]
    found = await users().get_offline_recipients(asked)
    assert {(one.user_id, one.conversation_id) for one in found} == {
        (one.user_id, one.conversation_id) for one in asked
    }


async def test_blocks_are_the_user_services_own(services):
    for work in (
        users().list_blocks(uuid4(), 10),
        users().block_set(uuid4(), uuid4()),
        users().block_remove(uuid4(), uuid4()),
    ):
        with pytest.raises(NotFound):
            await work


async def test_nonsense_of_every_kind_is_no_answer(services):
    ann, bob = uuid4(), uuid4()
    await services["users"].behave(Mode("wrong"))
    for _ in range(7):
        with pytest.raises(TemporaryUnavailable):
            await users().validate_message_permissions(ann, uuid4(), [ann, bob], seconds=5)
        breaker("user_service").reset()
    with pytest.raises(TemporaryUnavailable):
        await users().get_offline_recipients([PushCandidate(uuid4(), uuid4())])


async def test_nonsense_opens_the_circuit_and_sense_closes_it(services):
    ann = uuid4()

    async def ask() -> None:
        await users().validate_message_permissions(ann, uuid4(), [ann], seconds=5)

    await services["users"].behave(Mode("wrong"))
    for _ in range(LIMITS.circuit_failures):
        with pytest.raises(TemporaryUnavailable):
            await ask()
    assert breaker("user_service").state == "open"
    calls = services["users"].behaviour.calls
    with pytest.raises(TemporaryUnavailable) as refusal:
        await ask()
    assert services["users"].behaviour.calls == calls  # nobody was asked
    assert 0 < refusal.value.retry_after <= LIMITS.circuit_retry_seconds
    await services["users"].behave(Mode())
    await until_closed("user_service", ask)


async def test_a_refusal_is_the_answer_of_a_healthy_service(services, tmp_path):
    for service in services.values():
        await service.behave(Mode("deny"))
    for _ in range(2 * LIMITS.circuit_failures):
        with pytest.raises(TemporaryUnavailable):
            await users().get_offline_recipients([PushCandidate(uuid4(), uuid4())])
        with pytest.raises(TemporaryUnavailable):
            await media(tmp_path).validate_media_access(uuid4(), "m", seconds=5)
        with pytest.raises(BadRequest):
            await notifications().send_push_notifications([push()])
    for name in ("user_service", "media_service", "notification_service"):
        assert breaker(name).state == "closed"


async def test_a_service_that_fails_opens_the_circuit(services, tmp_path):
    await services["media"].behave(Mode("error"))
    for _ in range(LIMITS.circuit_failures):
        with pytest.raises(TemporaryUnavailable):
            await media(tmp_path).validate_media_access(uuid4(), "m", seconds=5)
    assert breaker("media_service").state == "open"


# --- away


async def test_a_slow_service_costs_its_deadline_and_no_thread(services):
    ann = uuid4()
    await users().validate_message_permissions(ann, uuid4(), [ann], seconds=5)  # the channel is there
    await services["users"].behave(Mode("slow", 3600))
    threads = threading.active_count()

    async def ask() -> None:
        with pytest.raises(TemporaryUnavailable):
            await users().validate_message_permissions(ann, uuid4(), [ann])

    async with asyncio.timeout(30):  # far from an hour
        await asyncio.gather(*(ask() for _ in range(100)))
    assert threading.active_count() <= threads + 1
    assert breaker("user_service").state == "open"


async def test_a_service_that_never_says_a_word_costs_its_deadline(silent, settings):
    settings.WHISPR_USER_SERVICE = silent
    async with asyncio.timeout(30):
        with pytest.raises(TemporaryUnavailable):
            await users().validate_message_permissions(uuid4(), uuid4(), [])


async def test_a_service_that_goes_and_comes_back(services, tmp_path):
    async def ask() -> None:
        await media(tmp_path).validate_media_access(UUID(int=1), "photo", seconds=2)

    await ask()
    await services["media"].behave(Mode("gone"))
    for _ in range(LIMITS.circuit_failures):
        with pytest.raises(TemporaryUnavailable):
            await ask()
    assert breaker("media_service").state == "open"
    await services["media"].behave(Mode())
    await until_closed("media_service", ask)


async def test_a_circuit_closes_by_the_health_check_alone(services):
    ann = uuid4()
    await services["users"].behave(Mode("gone"))
    for _ in range(LIMITS.circuit_failures):
        with pytest.raises(TemporaryUnavailable):
            await users().validate_message_permissions(ann, uuid4(), [ann], seconds=2)
    await services["users"].behave(Mode())
    calls = services["users"].behaviour.calls
    async with asyncio.timeout(30):
        while breaker("user_service").state != "closed":
            await users().clients.get().probe()
            await asyncio.sleep(0.05)
    assert services["users"].behaviour.calls == calls


async def test_a_service_that_is_started_again_within_the_deadline_is_asked_again(services):
    ann = uuid4()
    await users().validate_message_permissions(ann, uuid4(), [ann], seconds=5)
    await services["users"].stop()
    await services["users"].start()
    found = await users().validate_message_permissions(ann, uuid4(), [ann], seconds=5)
    assert found.verdict == "granted"


async def test_a_channel_that_is_replaced_lets_its_calls_end(services):
    asked = PushCandidate(uuid4(), uuid4())
    await services["users"].behave(Mode("slow", 1))
    asking = asyncio.create_task(users().get_offline_recipients([asked]))
    async with asyncio.timeout(10):
        while not services["users"].behaviour.calls:
            await asyncio.sleep(0.01)
    users().clients.get()._renew()
    assert [one.user_id for one in await asking] == [asked.user_id]


async def test_held_open_nobody_is_asked(services):
    breaker("user_service").hold("open")
    with pytest.raises(TemporaryUnavailable):
        await users().validate_message_permissions(uuid4(), uuid4(), [])
    assert services["users"].behaviour.calls == 0


# --- media


async def test_a_medium_is_its_owners_alone(services, tmp_path):
    ann = uuid4()
    found = await media(tmp_path).validate_media_access(ann, "photo-1", seconds=5)
    assert (found.media_id, found.size, len(found.sha256)) == ("photo-1", 1024, 32)
    assert abs(found.created_at - datetime.now(UTC)) < timedelta(minutes=5)
    for owner, name in ((uuid4(), "photo-1"), (ann, "missing-1")):
        with pytest.raises(InvalidMedia):
            await media(tmp_path).validate_media_access(owner, name, seconds=5)


async def test_a_link_is_made_once_and_undone(services, tmp_path):
    service, message = media(tmp_path), uuid4()
    await service.validate_media_access(UUID(int=1), "photo-2", keep_until=datetime.now(UTC), seconds=5)
    for _ in range(2):
        await service.link_media_to_message("photo-2", message, uuid4())
    assert services["media"].servicer.media["photo-2"].messages == {str(message)}
    for _ in range(2):
        await service.unlink_media("photo-2", message)
    with pytest.raises(InvalidMedia):
        await service.link_media_to_message("photo-2", message, uuid4())


async def test_media_nonsense_of_every_kind_is_no_answer(services, tmp_path):
    await services["media"].behave(Mode("wrong"))
    for _ in range(8):
        with pytest.raises(TemporaryUnavailable):
            await media(tmp_path).validate_media_access(UUID(int=1), "photo", seconds=5)
        breaker("media_service").reset()
    with pytest.raises(TemporaryUnavailable):
        await media(tmp_path).link_media_to_message("photo", uuid4(), uuid4())


# --- notifications


async def test_pushes_are_taken_once_a_key_without_a_preview(services):
    device = PushDevice(device_id=uuid4(), platform="ios", token="a token")
    dead = PushDevice(device_id=uuid4(), platform="ios", token="dead token")
    pushes = [push(devices=(device, dead), expires_at=datetime.now(UTC)), push(kind="clear", message_ids=(), count=0)]
    for _ in range(2):
        found = await notifications().send_push_notifications(pushes)
        assert [(one.key, one.accepted) for one in found] == [(one.key, True) for one in pushes]
        assert found[0].invalid_devices == (dead.device_id,)
    shown = services["notifications"].servicer.shown
    assert list(shown) == [one.key for one in pushes]
    assert "token" not in str(list(shown.values()))


async def test_nonsense_about_pushes_leaves_their_outcome_unknown(services):
    await services["notifications"].behave(Mode("wrong"))
    for _ in range(4):
        with pytest.raises(Timeout):
            await notifications().send_push_notifications([push()])
        breaker("notification_service").reset()


async def test_late_and_open_are_told_apart(services):
    await services["notifications"].behave(Mode("slow", 5))
    for _ in range(LIMITS.circuit_failures):
        with pytest.raises(Timeout):
            await notifications().send_push_notifications([push()], seconds=0.2)
    with pytest.raises(TemporaryUnavailable):  # the circuit is open: nothing was sent
        await notifications().send_push_notifications([push()], seconds=0.2)


async def test_too_many_pushes_are_not_sent(services):
    with pytest.raises(BadRequest):
        await notifications().send_push_notifications([push()] * 101)
    assert services["notifications"].behaviour.calls == 0


# --- certificates


@pytest.fixture
async def guarded(authority):
    """A user service with mutual TLS."""
    files = authority.issue()
    service = DevelopmentService("users", identity=Identity(files.certificate, files.key, authority.certificate))
    await service.start()
    yield service
    await service.stop()


async def verdict(remote: RemoteService) -> str:
    ann = uuid4()
    return (await GrpcUsers(remote).validate_message_permissions(ann, uuid4(), [ann], seconds=3)).verdict


async def test_with_the_right_certificates_on_both_sides(guarded, authority):
    mine = authority.issue()
    remote = RemoteService("", guarded.address, authority.certificate, mine.certificate, mine.key)
    assert await verdict(remote) == "granted"


@pytest.mark.parametrize("fault", ["no certificate", "of another authority", "server of another authority", "no TLS"])
async def test_with_wrong_certificates_nobody_is_asked(guarded, authority, stranger, fault):
    mine, theirs = authority.issue(), stranger.issue()
    remote = {
        "no certificate": RemoteService("", guarded.address, authority.certificate),
        "of another authority": RemoteService(
            "", guarded.address, authority.certificate, theirs.certificate, theirs.key
        ),
        "server of another authority": RemoteService(
            "", guarded.address, stranger.certificate, mine.certificate, mine.key
        ),
        "no TLS": RemoteService("", guarded.address),
    }[fault]
    with pytest.raises(TemporaryUnavailable):
        await verdict(remote)
    assert guarded.behaviour.calls == 0


async def test_a_certificate_that_went_missing_is_a_service_that_is_away(guarded, authority, tmp_path):
    gone = str(tmp_path / "gone.pem")
    with pytest.raises(TemporaryUnavailable):
        await verdict(RemoteService("", guarded.address, gone))
