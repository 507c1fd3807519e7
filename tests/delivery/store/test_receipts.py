"""What `delivery/store/receipts.py` promises, on a real PostgreSQL: nothing goes backwards, nothing is told that may
not be."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
import pytest
from django.db import connection

from delivery.models import DeliveryStatus, DeviceCursor
from delivery.services.receipts import _flush
from delivery.store.receipts import NewReceipt, Recorded, list_places, receipts_write
from messaging.models import Device, Member, Message, UserSettings
from messaging.store.conversations import conversation_create
from messaging.store.log import NewEntry, entries_append
from messaging.store.members import list_receipts, member_remove, members_add
from whispr.kernel import database
from whispr.kernel.batch import BUSY, GroupCommit
from whispr.kernel.errors import AckAboveHead, NotFound
from whispr.kernel.ids import new_id

pytestmark = pytest.mark.django_db
SECONDS = 15.0
Told = tuple[UUID, str, tuple[int, ...], int]


class Chat:
    """A group with messages: `ann` owns it. seq 1 is `conversation_created`."""

    def __init__(self, *others: UUID) -> None:
        self.ann = uuid4()
        self.users = [self.ann, *others]
        self.id = conversation_create(self.ann, "group", self.users, b"{}", None).view.id
        self.seqs: dict[UUID, int] = {}
        self.devices: dict[UUID, UUID] = {user: self.device(user) for user in self.users}

    def device(self, user: UUID) -> UUID:
        return Device.objects.create(user_id=user).id

    def send(self, sender: UUID, count: int = 1) -> list[UUID]:
        items = [
            NewEntry(new_id(), self.id, sender, uuid4(), "text", b"x", b"{}", number, uuid4().bytes)
            for number in range(len(self.seqs), len(self.seqs) + count)
        ]
        for outcome in entries_append(items):
            assert not isinstance(outcome, Exception), outcome
            self.seqs[outcome.outcome.message_id] = outcome.outcome.seq
        return [item.message_id for item in items]

    def receipt(self, user: UUID, up_to: int, *, read: bool = False, device: UUID | None = None, origin=None):
        return NewReceipt(user, device or self.devices[user], self.id, up_to, read, origin)

    def record(self, user: UUID, up_to: int, *, read: bool = False, device: UUID | None = None) -> list[Told]:
        """Record one receipt: whom it is told to, as (to, status, seqs, upTo)."""
        (outcome,) = receipts_write([self.receipt(user, up_to, read=read, device=device)])
        return self.told(outcome)

    def told(self, outcome: object) -> list[Told]:
        assert isinstance(outcome, Recorded), outcome
        return [
            (
                one.to_user_id,
                one.receipt.status,
                tuple(self.seqs[message_id] for message_id in one.receipt.message_ids),
                one.receipt.up_to,
            )
            for one in outcome.updates
        ]

    def marks(self, user: UUID) -> tuple[int, int, int]:
        return Member.objects.values_list("delivered_seq", "read_seq", "public_read_seq").get(
            conversation=self.id, user_id=user
        )

    def statuses(self, user: UUID) -> dict[int, str]:
        rows = DeliveryStatus.objects.filter(user_id=user).values_list("message_id", "delivered_at", "read_at")
        return {
            self.seqs[message_id]: "read" if read else "delivered" if delivered else "sent"
            for message_id, delivered, read in rows
        }

    def times(self, user: UUID) -> dict[int, tuple[datetime | None, datetime | None]]:
        rows = DeliveryStatus.objects.filter(user_id=user).values_list("message_id", "delivered_at", "read_at")
        return {self.seqs[message_id]: (delivered, read) for message_id, delivered, read in rows}

    def cursor(self, device: UUID) -> int:
        return DeviceCursor.objects.values_list("acked_seq", flat=True).get(device=device, conversation=self.id)


def test_delivered_is_told_to_the_sender_once():
    bob = uuid4()
    chat = Chat(bob)
    chat.send(chat.ann, 3)  # 2, 3, 4
    assert chat.record(bob, 3) == [(chat.ann, "delivered", (2, 3), 3)]
    assert chat.statuses(bob) == {2: "delivered", 3: "delivered", 4: "sent"}
    assert chat.marks(bob) == (3, 0, 0)
    assert chat.record(bob, 3) == []
    assert chat.record(bob, 4) == [(chat.ann, "delivered", (4,), 4)]


def test_nothing_goes_backwards():
    bob = uuid4()
    chat = Chat(bob)
    chat.send(chat.ann, 3)
    chat.record(bob, 4)
    chat.record(bob, 3, read=True)
    before = (chat.marks(bob), chat.times(bob), chat.cursor(chat.devices[bob]))
    assert before[0] == (4, 3, 3)
    for up_to, read in ((0, False), (2, False), (1, True), (3, True)):
        assert chat.record(bob, up_to, read=read) == []
    assert (chat.marks(bob), chat.times(bob), chat.cursor(chat.devices[bob])) == before


def test_times_never_change():
    bob = uuid4()
    chat = Chat(bob)
    chat.send(chat.ann, 2)
    chat.record(bob, 2, read=True)
    first = chat.times(bob)
    chat.record(bob, 3, read=True)
    assert chat.times(bob)[2] == first[2]
    delivered, read = chat.times(bob)[3]
    assert delivered == read is not None


def test_read_implies_delivered_and_is_told_to_the_readers_own_devices():
    bob = uuid4()
    chat = Chat(bob)
    chat.send(chat.ann, 2)
    assert chat.record(bob, 2) == [(chat.ann, "delivered", (2,), 2)]
    assert chat.record(bob, 3, read=True) == [
        (chat.ann, "delivered", (3,), 3),
        (chat.ann, "read", (2, 3), 3),
        (bob, "read", (2, 3), 3),
    ]
    assert chat.marks(bob) == (3, 3, 3)
    assert chat.statuses(bob) == {2: "read", 3: "read"}


def test_each_sender_is_told_of_their_own_messages_alone():
    bob, cid = uuid4(), uuid4()
    chat = Chat(bob, cid)
    chat.send(chat.ann)  # 2
    chat.send(bob)  # 3
    chat.send(cid)  # 4
    chat.send(chat.ann)  # 5
    assert sorted(chat.record(bob, 5)) == sorted(
        [(chat.ann, "delivered", (2, 5), 5), (cid, "delivered", (4,), 5)],
    )
    assert chat.statuses(bob) == {2: "delivered", 4: "delivered", 5: "delivered"}
    assert chat.statuses(cid) == {2: "sent", 3: "sent", 5: "sent"}
    assert chat.record(chat.ann, 2) == []  # one's own message


def test_several_receipts_of_one_reader_become_one():
    bob, cid = uuid4(), uuid4()
    chat = Chat(bob, cid)
    chat.send(chat.ann, 4)
    batch = [
        chat.receipt(bob, 2),
        chat.receipt(cid, 3),
        chat.receipt(bob, 5),
        chat.receipt(bob, 3, read=True),
        chat.receipt(bob, 4),
    ]
    outcomes = receipts_write(batch)
    assert [chat.told(one) for one in outcomes] == [
        [(chat.ann, "delivered", (2, 3, 4, 5), 5), (chat.ann, "read", (2, 3), 3), (bob, "read", (2, 3), 3)],
        [(chat.ann, "delivered", (2, 3), 3)],
        [],
        [],
        [],
    ]
    assert (chat.marks(bob), chat.marks(cid)) == ((5, 3, 3), (3, 0, 0))


def test_the_socket_that_said_so_needs_no_update():
    bob = uuid4()
    chat = Chat(bob)
    chat.send(chat.ann)
    socket = object()
    (outcome,) = receipts_write([chat.receipt(bob, 2, read=True, origin=socket)])
    assert isinstance(outcome, Recorded)
    assert [(one.to_user_id, one.origin) for one in outcome.updates] == [
        (chat.ann, None),
        (chat.ann, None),
        (bob, socket),
    ]


# --- read receipts off ---


def test_with_read_receipts_off_nobody_learns_that_one_read():
    bob = uuid4()
    chat = Chat(bob)
    UserSettings.objects.create(user_id=bob, read_receipts=False)
    chat.send(chat.ann, 2)
    chat.record(bob, 2)
    assert chat.record(bob, 3, read=True) == [(chat.ann, "delivered", (3,), 3), (bob, "read", (), 3)]
    assert chat.marks(bob) == (3, 3, 0)
    assert chat.statuses(bob) == {2: "delivered", 3: "delivered"}
    assert not DeliveryStatus.objects.filter(read_at__isnull=False).exists()
    assert [(one.user_id, one.read_seq) for one in list_receipts(chat.ann, chat.id) if one.user_id == bob] == [(bob, 0)]
    assert [(one.user_id, one.read_seq) for one in list_receipts(bob, chat.id) if one.user_id == bob] == [(bob, 3)]


def test_a_secret_read_leaves_the_same_rows_as_no_read():
    """the reliability catalogue row 71: not even a row's version may tell. `xmin` changes with every write of a row."""
    bob = uuid4()
    chat = Chat(bob)
    UserSettings.objects.create(user_id=bob, read_receipts=False)
    chat.send(chat.ann, 2)
    chat.record(bob, 3)

    def versions() -> list[tuple]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT id, xmin::text, ctid::text FROM delivery_statuses ORDER BY id")
            return cursor.fetchall()

    before = versions()
    chat.record(bob, 3, read=True)
    assert versions() == before


def test_what_was_read_in_secret_stays_untold():
    bob = uuid4()
    chat = Chat(bob)
    setting = UserSettings.objects.create(user_id=bob, read_receipts=False)
    chat.send(chat.ann, 3)
    chat.record(bob, 3, read=True)
    setting.read_receipts = True
    setting.save()
    assert chat.record(bob, 3, read=True) == []
    assert chat.record(bob, 4, read=True) == [
        (chat.ann, "delivered", (4,), 4),
        (chat.ann, "read", (4,), 4),
        (bob, "read", (4,), 4),
    ]
    assert chat.statuses(bob) == {2: "delivered", 3: "delivered", 4: "read"}


# --- who and what is refused ---


def test_above_the_head_is_refused_and_changes_nothing():
    bob = uuid4()
    chat = Chat(bob)
    chat.send(chat.ann)
    outcomes = receipts_write([chat.receipt(bob, 3), chat.receipt(bob, 2**63 - 1, read=True), chat.receipt(bob, 1)])
    assert [type(one) for one in outcomes] == [AckAboveHead, AckAboveHead, Recorded]
    assert chat.marks(bob) == (1, 0, 0)
    assert chat.statuses(bob) == {2: "sent"}
    assert chat.cursor(chat.devices[bob]) == 1


def test_who_never_was_a_member_is_refused():
    bob, stranger = uuid4(), uuid4()
    chat = Chat(bob)
    device = chat.device(stranger)
    foreign = chat.receipt(stranger, 1, device=device)
    unknown = NewReceipt(bob, chat.devices[bob], uuid4(), 1, False)
    outcomes = receipts_write([foreign, chat.receipt(bob, 1), unknown])
    assert [type(one) for one in outcomes] == [NotFound, Recorded, NotFound]
    assert not DeviceCursor.objects.filter(device=device).exists()


def test_a_removed_member_acknowledges_what_was_theirs():
    bob = uuid4()
    chat = Chat(bob)
    chat.send(chat.ann)  # 2
    member_remove(chat.ann, chat.id, bob)  # 3
    chat.send(chat.ann)  # 4
    (refused,) = receipts_write([chat.receipt(bob, 4)])
    assert isinstance(refused, AckAboveHead)
    assert chat.marks(bob) == (0, 0, 0)
    assert chat.record(bob, 3, read=True) == [
        (chat.ann, "delivered", (2,), 3),
        (chat.ann, "read", (2,), 3),
        (bob, "read", (2,), 3),
    ]
    members_add(chat.ann, chat.id, [bob])  # 5
    chat.send(chat.ann)  # 6
    assert chat.record(bob, 6) == [(chat.ann, "delivered", (6,), 6)]
    assert chat.statuses(bob) == {2: "read", 6: "delivered"}


def test_two_devices_have_cursors_of_their_own():
    bob = uuid4()
    chat = Chat(bob)
    phone, laptop = chat.devices[bob], chat.device(bob)
    chat.send(chat.ann, 4)
    assert chat.record(bob, 5, device=phone) != []
    assert chat.record(bob, 2, device=laptop) == []  # the user has it already; the device does not
    assert (chat.cursor(phone), chat.cursor(laptop)) == (5, 2)
    receipts_write([chat.receipt(bob, 4, device=laptop), chat.receipt(bob, 3, device=laptop)])
    assert (chat.cursor(phone), chat.cursor(laptop)) == (5, 4)
    assert chat.marks(bob) == (5, 0, 0)


def test_a_clock_that_goes_back_breaks_no_receipt():
    """the reliability catalogue F34: the row says delivered in the future; reading it now must neither fail nor
    precede that."""
    bob = uuid4()
    chat = Chat(bob)
    (message_id,) = chat.send(chat.ann)
    chat.record(bob, 2)
    future = datetime.now(UTC) + timedelta(hours=1)
    DeliveryStatus.objects.filter(message=message_id).update(delivered_at=future)
    assert (chat.ann, "read", (2,), 2) in chat.record(bob, 2, read=True)
    delivered, read = chat.times(bob)[2]
    assert delivered == future
    assert read is not None
    assert read >= future


def test_message_ids_come_to_places_of_ones_own():
    bob, stranger = uuid4(), uuid4()
    chat = Chat(bob)
    before = chat.send(chat.ann, 2)
    other = Chat(bob)
    elsewhere = other.send(other.ann)
    member_remove(chat.ann, chat.id, bob)
    after = chat.send(chat.ann)
    ids = [*before, *elsewhere, *after, uuid4()]
    assert sorted(list_places(bob, ids)) == sorted([(chat.id, 3), (other.id, 2)])
    assert list_places(stranger, ids) == []


# --- several sessions at once ---


@pytest.mark.django_db(transaction=True)
def test_a_locked_reader_is_busy_and_the_neighbour_is_not():
    bob, cid = uuid4(), uuid4()
    chat = Chat(bob, cid)
    chat.send(chat.ann)
    known = connection.settings_dict
    with psycopg.connect(
        host=known["HOST"], port=known["PORT"], user=known["USER"], password=known["PASSWORD"], dbname=known["NAME"]
    ) as other:
        other.execute("SELECT 1 FROM members WHERE user_id = %s FOR UPDATE", [bob])
        batch = [chat.receipt(bob, 2), chat.receipt(cid, 2), chat.receipt(uuid4(), 2, device=uuid4())]
        outcomes = database.call(receipts_write, batch, False)
        assert outcomes[0] is BUSY
        assert chat.told(outcomes[1]) == [(chat.ann, "delivered", (2,), 2)]
        assert isinstance(outcomes[2], NotFound)
        assert chat.marks(bob) == (0, 0, 0)
    assert chat.told(database.call(receipts_write, batch[:1], False)[0]) == [(chat.ann, "delivered", (2,), 2)]


@pytest.mark.django_db(transaction=True)
async def test_two_processes_record_each_receipt_once():
    """Each message is told delivered and read exactly once, however the receipts of two devices interleave."""

    def prepare() -> tuple[Chat, UUID, UUID, UUID]:
        bob = uuid4()
        chat = Chat(bob)
        chat.send(chat.ann, 60)
        return chat, bob, chat.devices[bob], chat.device(bob)

    chat, bob, phone, laptop = await asyncio.to_thread(prepare)
    one, other = (GroupCommit(f"receipts {number}", _flush, batch_max=3) for number in range(2))
    futures = []
    for up_to in range(2, 62):
        futures.append(one.submit(chat.id, chat.receipt(bob, up_to, device=phone, read=up_to % 2 == 0)))
        futures.append(other.submit(chat.id, chat.receipt(bob, up_to, device=laptop)))
        if up_to % 5 == 0:
            await asyncio.sleep(0.002)
    outcomes = await asyncio.wait_for(asyncio.gather(*futures), SECONDS)
    told = [update for outcome in outcomes for update in chat.told(outcome)]
    for status, last in (("delivered", 61), ("read", 60)):
        seqs = [seq for to, what, found, _ in told if (to, what) == (chat.ann, status) for seq in found]
        assert sorted(seqs) == list(range(2, last + 1))
    assert await asyncio.to_thread(chat.marks, bob) == (61, 60, 60)
    assert await asyncio.to_thread(lambda: [chat.cursor(device) for device in (phone, laptop)]) == [61, 61]
    assert await asyncio.to_thread(Message.objects.count) == 61


@pytest.mark.django_db(transaction=True)
def test_a_devices_first_receipt_does_not_wait_for_who_holds_the_conversation():
    bob = uuid4()
    chat = Chat(bob)
    chat.send(chat.ann)
    with psycopg.connect(**connection.get_connection_params() | {"options": ""}) as holder:
        holder.execute("SELECT 1 FROM conversations WHERE id = %s FOR UPDATE", (chat.id,))
        first = chat.receipt(bob, 2, device=chat.device(bob))
        assert [type(one) for one in receipts_write([first], patient=False)] == [Recorded]
