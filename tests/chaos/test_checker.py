"""The checker: a good history is good in everything; each invariant, violated once, is caught."""

import random
import time
from pathlib import Path

import pytest

from tests.chaos.checker import INVARIANTS, check
from tests.chaos.history import History, Op, read
from tests.chaos.tale import BEGIN, ROOM, Tale, created, moment, text


def violated(ops: list[Op]) -> set[str]:
    return {verdict.id for verdict in check(ops) if verdict.state == "violated"}


def judged(ops: list[Op]) -> set[str]:
    return {verdict.id for verdict in check(ops) if verdict.state != "not judged"}


def good() -> Tale:
    """A little of everything, all of it right."""
    tale = Tale()
    tale.send(11)  # 2
    tale.send(12, expires_at=BEGIN + 1.0)  # 3
    tale.ask("ack", "b1", conversation=ROOM, up_to=3)
    tale.note(
        "status",
        "ok",
        user="ann",
        device="a1",
        socket=1,
        conversation=ROOM,
        recipient="bob",
        status="delivered",
        up_to=3,
    )
    tale.send(13, type="edit", target="m2")  # 4
    tale.ask("delete", "a1", message_id="m3")
    tale.system("message_deleted", named=["m3"])  # 5
    tale.ask("member", "a1", users=["cleo"], conversation=ROOM)
    tale.system("member_added", users=["cleo"])  # 6
    tale.system("member_removed", users=["cleo"])  # 7
    tale.ask("revoke", "a1", target="a9")
    line = tale.new_id()
    tale.note(
        "schedule",
        "invoke",
        id=line,
        user="ann",
        device="a1",
        conversation=ROOM,
        client_random=14,
        hash="h14",
        due=BEGIN + 8.0,
    )
    tale.note("schedule", "ok", id=line, user="ann", device="a1")
    tale.head += 1  # 8
    for device in ("a1", "a2", "b1"):
        tale.receive(device, 8, sender="ann", client_random=14, hash="h14", sent_at=moment(8))
    tale.fault(1.0, isolated=True)
    tale.ask("send_control", "b1", control=True)
    tale.tick(2)
    tale.note("converged", "ok", seconds=1.0)
    tale.note("audit", "ok", note="heads", count=0)
    views = [
        created(),
        text(2, 11, hash="h13", edited=True),
        text(3, 12, hash=None, expires_at=BEGIN + 1.0),
        text(4, 13, type="edit", target="m2"),
        {"seq": 5, "type": "system", "event": "message_deleted", "named": ["m3"], "sender": "ann"},
        {"seq": 6, "type": "system", "event": "member_added", "users": ["cleo"], "sender": "ann"},
        {"seq": 7, "type": "system", "event": "member_removed", "users": ["cleo"], "sender": "ann"},
        text(8, 14),
    ]
    tale.fetch("a1", *views)
    tale.fetch("b1", *views)
    tale.join("b2", "bob", (*views[:1], text(2, 11), *views[2:]))
    for up_to in (3, 3):
        tale.note("receipt", "ok", conversation=ROOM, recipient="bob", up_to=up_to, read_up_to=0)
    return tale


def test_a_good_history_is_good_in_everything():
    ops = good().end()
    assert violated(ops) == set()
    # Nobody was given anything after a removal, or before an adding: there was nothing to see there.
    assert set(INVARIANTS) - judged(ops) <= {"I15", "I16"}


def changed(change) -> set[str]:
    tale = good()
    change(tale)
    return violated(tale.end())


def find(tale: Tale, op: str, phase: str = "ok", **fields) -> Op:
    return next(
        one
        for one in tale.ops
        if one.op == op and one.phase == phase and all(getattr(one, name) == value for name, value in fields.items())
    )


def drop(tale: Tale, **fields) -> None:
    tale.ops = [op for op in tale.ops if not all(getattr(op, name) == value for name, value in fields.items())]


def test_i1_an_acknowledged_message_is_lost():
    def change(tale: Tale) -> None:
        line = tale.new_id()
        about = {"user": "ann", "device": "a1", "conversation": ROOM, "client_random": 99}
        tale.note("send", "invoke", id=line, hash="h99", type="text", **about)
        tale.note("send", "ok", id=line, message_id="m9", seq=9, status="sent", sent_at=moment(9), **about)

    assert "I1" in changed(change)


@pytest.mark.parametrize("fields", [{"hash": "h77"}, {"client_random": 77}, {"sender": "bob"}])
def test_i2_something_is_seen_that_nobody_sent(fields):
    def change(tale: Tale) -> None:
        op = find(tale, "view", seq=8)
        for name, value in fields.items():
            setattr(op, name, value)

    assert "I2" in changed(change)


def test_i3_what_failed_is_there():
    def change(tale: Tale) -> None:
        op = find(tale, "send", client_random=13)
        op.phase, op.message_id, op.seq = "fail", None, None

    assert "I3" in changed(change)


def test_i3_an_unknown_outcome_is_never_settled():
    def change(tale: Tale) -> None:
        line = tale.new_id()
        about = {"user": "ann", "device": "a1", "conversation": ROOM, "client_random": 99}
        tale.note("send", "invoke", id=line, hash="h99", type="text", **about)
        tale.note("send", "info", id=line, code="closed", **about)

    assert changed(change) == {"I3"}


def test_i4_two_answers_to_one_key():
    def change(tale: Tale) -> None:
        about = {"user": "ann", "device": "a2", "conversation": ROOM, "client_random": 11}
        line = tale.new_id()
        tale.note("send", "invoke", id=line, hash="h11", type="text", attempt=2, **about)
        tale.note("send", "ok", id=line, message_id="m8", seq=8, status="sent", sent_at=moment(8), **about)

    assert "I4" in changed(change)


def test_i4_a_resend_with_the_same_answer_is_right():
    def change(tale: Tale) -> None:
        about = {"user": "ann", "device": "a2", "conversation": ROOM, "client_random": 11}
        line = tale.new_id()
        tale.note("send", "invoke", id=line, hash="h11", type="text", attempt=2, **about)
        tale.note("send", "ok", id=line, message_id="m2", seq=2, status="duplicate", sent_at=moment(2), **about)

    assert changed(change) == set()


def test_i5_two_messages_in_one_place():
    def change(tale: Tale) -> None:
        find(tale, "receive", seq=2, device="b1").message_id = "another"

    assert "I5" in changed(change)


def test_i6_a_number_is_missing():
    def change(tale: Tale) -> None:
        for op in tale.ops:
            if op.seq == 8 and op.op in ("view", "receive", "send", "fetch"):
                op.seq = 9

    assert "I6" in changed(change)


def test_i7_a_device_has_a_gap():
    assert changed(lambda tale: drop(tale, op="receive", device="b1", seq=4)) >= {"I7"}


def test_i7_a_device_never_gets_the_last():
    assert changed(lambda tale: drop(tale, op="receive", device="b1", seq=8)) == {"I7"}


def test_i7_out_of_order():
    def change(tale: Tale) -> None:
        first, second = find(tale, "receive", device="b1", seq=2), find(tale, "receive", device="b1", seq=4)
        first.time, second.time = second.time, first.time

    assert "I7" in changed(change)


def test_i8_what_was_answered_first_comes_later():
    def change(tale: Tale) -> None:
        for op in tale.ops:
            if op.seq in (2, 3) and op.op in ("send", "receive", "view"):
                op.seq = 5 - op.seq

    assert "I8" in changed(change)


def test_i8_one_sockets_order_is_lost():
    tale = Tale()
    about = {"user": "ann", "device": "a1", "conversation": ROOM}
    for number in (21, 22):
        tale.note("send", "invoke", id=number, socket=1, hash=f"h{number}", type="text", client_random=number, **about)
    for number, seq in ((21, 3), (22, 2)):
        place = {"message_id": f"m{seq}", "seq": seq, "sent_at": moment(seq), "status": "sent"}
        tale.note("send", "ok", id=number, client_random=number, **place, **about)
    assert "I8" in violated(tale.ops)


def test_i9_times_do_not_increase():
    def change(tale: Tale) -> None:
        for op in tale.ops:
            if op.seq == 4:
                op.sent_at = moment(2.5)

    assert changed(change) == {"I9"}


def test_i10_the_end_of_a_catch_up_is_told_too_early():
    tale = good()
    find(tale, "receive", device="b2", seq=4).time += 1.0
    tale.tick(2)
    assert "I10" in violated(tale.ops)


def test_i11_a_device_computes_another_content():
    def change(tale: Tale) -> None:
        for op in tale.ops:
            if op.op == "view" and op.seq == 2:
                op.hash = "h11"

    assert "I11" in changed(change)


def test_i11_a_device_has_what_is_gone():
    def change(tale: Tale) -> None:
        for op in tale.ops:
            if op.op == "view" and op.seq == 8:
                op.hash = None

    assert "I11" in changed(change)


def test_i12_a_receipt_goes_back():
    def change(tale: Tale) -> None:
        about = {"user": "ann", "device": "a1", "socket": 1, "conversation": ROOM, "recipient": "bob"}
        tale.note("status", "ok", status="delivered", up_to=2, **about)

    assert changed(change) == {"I12"}


def test_i12_an_acknowledgement_is_forgotten():
    def change(tale: Tale) -> None:
        for op in tale.ops:
            if op.op == "receipt":
                op.up_to = 2

    assert changed(change) == {"I12"}


@pytest.mark.parametrize(
    "later",
    [
        {"status": "sent", "at": None},
        {"status": "delivered", "at": moment(9)},
        {"status": "read", "at": moment(5), "read_at": moment(4)},
    ],
)
def test_i12_a_status_goes_back_or_changes_its_times(later):
    def change(tale: Tale) -> None:
        about = {"message_id": "m2", "conversation": ROOM, "recipient": "bob"}
        tale.note("delivery", "ok", status="delivered", at=moment(5), **about)
        tale.note("delivery", "ok", **later, **about)

    assert changed(change) == {"I12"}


def test_i13_a_receipt_is_invented():
    def change(tale: Tale) -> None:
        about = {"user": "ann", "device": "a1", "socket": 1, "conversation": ROOM, "recipient": "bob"}
        tale.note("status", "ok", status="delivered", up_to=4, **about)

    assert changed(change) == {"I13"}


def test_i14_an_expired_message_is_read():
    def change(tale: Tale) -> None:
        tale.ops = [op for op in tale.ops if op.op != "delete" and op.event != "message_deleted"]
        for op in tale.ops:
            if op.op == "view" and op.seq == 3:
                op.hash = "h12"

    assert "I14" in changed(change)


def test_i14_expired_contents_are_stored():
    assert "I14" in changed(lambda tale: tale.note("audit", "ok", note="expired contents", count=2))


def test_i15_a_removed_member_sees_more():
    def change(tale: Tale) -> None:
        tale.sockets["c1"] = ("cleo", 77)
        tale.receive("c1", 8, sender="ann", client_random=14, hash="h14")

    assert "I15" in changed(change)


def test_i15_a_removed_member_writes():
    def change(tale: Tale) -> None:
        line = tale.new_id()
        about = {"user": "cleo", "device": "c1", "conversation": ROOM, "client_random": 99}
        tale.note("send", "invoke", id=line, hash="h99", type="text", **about)
        tale.note("send", "ok", id=line, message_id="m8", seq=8, status="sent", sent_at=moment(8), **about)

    assert "I15" in changed(change)


def test_i16_a_joiner_sees_what_was_before():
    def change(tale: Tale) -> None:
        tale.sockets["c1"] = ("cleo", 77)
        tale.receive("c1", 4, sender="ann", client_random=13, hash="h13", type="edit", target="m2")

    assert "I16" in changed(change)


def test_i16_a_blocked_senders_message_is_delivered():
    tale = Tale()
    tale.ask("block", "b1", target="ann", conversation=ROOM)
    tale.send(11)
    assert violated(tale.ops) == {"I16"}


def test_i17_a_revoked_device_is_pushed_to():
    def change(tale: Tale) -> None:
        tale.tick(6)
        tale.sockets["a9"] = ("ann", 79)
        tale.receive("a9", 8, sender="ann", client_random=14, hash="h14")

    assert changed(change) >= {"I17"}


def test_i18_a_deleted_message_is_shown():
    def change(tale: Tale) -> None:
        for op in tale.ops:
            op.expires_at = None
            if op.op == "view" and op.seq == 3:
                op.hash = "h12"

    assert "I18" in changed(change)


def test_i18_an_edit_by_somebody_else():
    def change(tale: Tale) -> None:
        for op in tale.ops:
            if op.seq == 4 and op.op in ("receive", "view"):
                op.sender = "bob"

    assert "I18" in changed(change)


def test_i19_two_answers():
    def change(tale: Tale) -> None:
        again = find(tale, "send", client_random=11)
        tale.note("send", "ok", id=again.id, user="ann", device="a1", client_random=11, message_id="m2", seq=2)

    assert changed(change) >= {"I19"}


def test_i20_it_fires_late():
    def change(tale: Tale) -> None:
        find(tale, "schedule", "invoke").due = BEGIN - 60.0

    assert changed(change) == {"I20"}


def test_i20_it_never_fires():
    def change(tale: Tale) -> None:
        drop(tale, client_random=14, op="receive")
        drop(tale, client_random=14, op="view")
        tale.tick(120)

    assert "I20" in changed(change)


def test_i21_no_answer():
    assert changed(lambda tale: drop(tale, op="member", phase="ok")) == {"I21"}


def test_i21_an_answer_after_12_seconds():
    assert changed(lambda tale: tale.ask("typing", "a1", took=12.0)) == {"I21"}


def test_i21_a_fault_of_the_server():
    assert changed(lambda tale: tale.ask("typing", "a1", "info", code="internal_error")) == {"I21"}


def test_i22_it_does_not_recover():
    assert changed(lambda tale: tale.note("converged", "fail", seconds=45.0, note="a1 is behind")) == {"I22"}


def test_i22_errors_long_after():
    def change(tale: Tale) -> None:
        tale.tick(40)
        tale.ask("typing", "a1", "info", code="overloaded")

    assert changed(change) == {"I22"}


def test_i23_the_database_contradicts_itself():
    assert changed(lambda tale: tale.note("audit", "ok", note="orphans", count=1)) == {"I23"}


@pytest.mark.parametrize(("phase", "took"), [("ok", 6.0), ("info", 0.1)])
def test_i24_others_feel_it(phase, took):
    def change(tale: Tale) -> None:
        tale.fault(10.0, isolated=True)
        tale.ask(
            "ack",
            "b1",
            phase,
            took=took,
            conversation=ROOM,
            up_to=1,
            control=True,
            **({"code": "closed"} if phase == "info" else {}),
        )

    assert "I24" in changed(change)


def test_a_history_survives_its_file_and_a_line_that_was_cut(tmp_path: Path):
    path = tmp_path / "history.jsonl"
    history = History(path)
    for op in good().end():
        fields = {name: getattr(op, name) for name in op.__struct_fields__ if name not in ("time", "op", "phase")}
        history.write(op.op, op.phase, **fields).time = op.time
    history.close()
    with path.open("ab") as file:
        file.write(b'{"time": 1, "op": "se')
    assert len(list(read(path))) == len(good().end())


def test_a_long_history_is_judged_without_comparing_all_pairs():
    """50,000 sends, in a shuffled order of answers: comparing all pairs would take minutes."""
    chance, ops = random.Random(5), []
    for seq in range(1, 50_001):
        about = {"user": "ann", "device": "a1", "conversation": ROOM, "client_random": seq}
        begun = seq + chance.random()
        ops.append(Op(time=begun, op="send", phase="invoke", id=seq, hash="h", type="text", **about))
        place = {"message_id": f"m{seq}", "seq": seq, "status": "sent"}
        ops.append(Op(time=begun + 3 * chance.random(), op="send", phase="ok", id=seq, **place, **about))
    chance.shuffle(ops)
    began = time.monotonic()
    assert violated(ops) <= {"I8"}
    assert time.monotonic() - began < 60
