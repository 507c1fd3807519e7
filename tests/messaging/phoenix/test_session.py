"""What the vectors cannot say of a session: limits, the reliability catalogue §3, and what holds for any sequence of
frames."""

import json
import tracemalloc
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging import phoenix
from messaging.phoenix import Close, Event, Gone, Join, JoinState, Leave, Send, Session, SessionLimits, Version

T = "user:0191e7a2-7c1d-7f1e-9a30-2b2d5a1d0c11"


def text(join_ref, ref, topic, event, payload=None):
    return json.dumps([join_ref, ref, topic, event, {} if payload is None else payload])


def socket(**limits) -> Session:
    return Session(Version.V2, SessionLimits(**limits), 0.0)


def ask(session: Session, topic: str = T, ref: str = "1") -> phoenix.TopicJoin:
    """A pending join."""
    *_, action = session.receive_text(text(ref, ref, topic, "phx_join"), 0.0)
    assert isinstance(action, Join)
    return action.join


def join(session: Session, topic: str = T, ref: str = "1") -> phoenix.TopicJoin:
    asked = ask(session, topic, ref)
    assert len(session.joined(asked, b"{}")) == 1
    return asked


def sent(actions) -> list:
    return [json.loads(action.data) for action in actions if isinstance(action, Send)]


def reason(actions) -> str:
    [(_, _, _, event, payload)] = sent(actions)
    assert (event, payload["status"]) == ("phx_reply", "error")
    return payload["response"]["reason"]


def test_the_101st_topic_is_refused_and_a_rejoin_is_not():
    session = socket()
    for i in range(100):
        join(session, f"t{i}", str(i))
    over = session.receive_text(text("101", "101", "t100", "phx_join"), 0.0)
    response = {"status": "error", "response": {"reason": "too many channels joined"}}
    assert sent(over) == [["101", "101", "t100", "phx_reply", response]]
    assert len(over) == 1
    assert isinstance(session.receive_text(text("102", "102", "t5", "phx_join"), 0.0)[-1], Join)
    assert len(session.topics) == 100


def test_pending_joins_count():
    session = socket(topics=1)
    session.receive_text(text("1", "1", "a", "phx_join"), 0.0)
    assert reason(session.receive_text(text("2", "2", "b", "phx_join"), 0.0)) == "too many channels joined"


def test_held_frames_are_bounded_by_count_and_bytes():
    session = socket(held_frames=2, held_bytes=10_000)
    first = ask(session)
    for ref in ("2", "3"):
        assert session.receive_text(text("1", ref, T, "typing"), 0.0) == ()
    assert reason(session.receive_text(text("1", "4", T, "typing"), 0.0)) == "overloaded"
    assert [type(found) for found in session.joined(first, b"{}")] == [Send, Event, Event]
    other = ask(session, "b", "5")
    assert reason(session.receive_text(text("5", "6", "b", "x", {"a": "a" * 10_000}), 0.0)) == "overloaded"
    assert session.receive_text(text("5", "7", "b", "x", {"a": "a" * 9_000}), 0.0) == ()
    session.refused(other, b'{"reason":"not_found"}')
    third = ask(session, "b", "8")
    assert session.receive_text(text("8", "9", "b", "x", {"a": "a" * 9_000}), 0.0) == ()  # the bytes were given back
    assert third.state is JoinState.PENDING


def test_heads_and_replies_of_a_join():
    session = socket()
    user = join(session)
    assert session.topics[T] is user
    frame = json.loads(user.head + phoenix.push_tail(Version.V2, "new_message", b'{"seq":1}'))
    assert frame == ["1", None, T, "new_message", {"seq": 1}]
    assert sent(session.reply(user, "7", "ok", b'{"seq":1}')) == [
        ["1", "7", T, "phx_reply", {"status": "ok", "response": {"seq": 1}}]
    ]
    assert len({user, join(session, "b")}) == 2  # by identity
    session.end(user)
    assert session.reply(user, "8", "ok", b"{}") == ()
    assert session.left(user) == session.crashed(user) == session.joined(user, b"{}") == ()


def test_after_a_close_nothing_happens():
    session = socket()
    user = join(session)
    assert session.deadline() == 60.0
    session.touch(5.0)
    assert session.idle(64.9) is None
    assert session.idle(65.0) == Close(4408, "idle")
    assert session.receive_text(text("1", "2", T, "typing"), 65.0) == ()
    assert session.receive_binary(b"\0\1\1\1\1" + b"12te", 65.0) == ()
    assert session.reply(user, "2", "ok", b"{}") == session.end(user) == ()
    assert session.idle(200.0) is None


def test_an_idle_joined_socket_is_small():
    """Below 2 KiB, so that 20,000 sockets of a process hold less than 40 MiB here."""
    limits, many = SessionLimits(), 500
    sessions = []
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for i in range(many):
            session = Session(Version.V2, limits, float(i))
            join(session, f"user:{i:036d}", str(i))
            sessions.append(session)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after - before) / many < 2048


# --- the reliability catalogue §3; the row's number is the first part of the id

BAD = {
    "1 open brace": "{",
    "1 truncated": '["1","2","t","e",{',
    "1 junk behind": '["1","2","t","e",{}]]',
    "7 depth 1,500": '["1","2","t","e",{"a":' + "[" * 1_500 + "]" * 1_500 + "}]",
    "7 depth 60,000, unclosed": "[" * 60_000,
    "8 NUL in a value": '["1","2","t","e",{"metadata":{"a":"\\u0000"}}]',
    "8 NUL in a key": '["1","2","t","e",{"metadata":{"\\u0000":1}}]',
    "9 lone surrogate": '["1","2","t","e",{"metadata":{"a":"\\ud83d"}}]',
    "15 null": "null",
    "15 list": "[]",
    "15 string": '"x"',
    "15 no ref": '["1","t","e",{}]',
    "15 null ref": '["1",null,"t","e",{}]',
    "15 ref of 100 kB": json.dumps(["1", "r" * 100_000, "t", "e", {}]),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_bad_text_is_answered_and_the_socket_lives(bad):
    session = socket()
    user = join(session)
    assert reason(session.receive_text(bad, 1.0)) == "bad_request"
    assert session.topics[T] is user
    [event] = session.receive_text(text("1", "3", T, "typing"), 2.0)
    assert isinstance(event, Event)
    assert event.join is user
    for now in (3.0, 4.0, 5.0):
        assert reason(session.receive_text(bad, now)) == "bad_request"
    *_, close = session.receive_text(bad, 6.0)
    assert isinstance(close, Close)
    assert close.code == 4400


@pytest.mark.parametrize("version", Version)
def test_row_2_wrong_kind_of_message(version):
    session = Session(version, SessionLimits(), 0.0)
    for [action] in (
        session.receive_binary(b'["1","2","t","e",{}]', 0.0),
        session.receive_text("\0\1\1\1\1" + "12te", 0.0),
    ):
        assert isinstance(action, Send)
        frame = json.loads(action.data)
        payload = frame["payload"] if version is Version.V1 else frame[4]
        assert payload["response"]["reason"] == "bad_request"
    assert not session.closed


def test_row_4_over_the_frame_limit():
    session = socket(frame_bytes=1_000)
    fits, over = text("1", "1", "é", "e", {"a": "€" * 155}), text("1", "2", "é", "e", {"a": "€" * 165})
    assert len(fits.encode()) < 1_000 < len(over.encode())
    assert reason(session.receive_text(fits, 0.0)) == "unmatched topic"
    raw = json.dumps(["1", "3", "é", "e", {"a": "€" * 330}], ensure_ascii=False)  # fewer characters than the limit
    for ref, frame in (("2", over), ("3", raw), ("3", raw.encode())):
        actions = session.receive_text(frame, 0.0)
        assert reason(actions) == "too_large"
        assert sent(actions)[0][1] == ref
    assert reason(session.receive_binary(bytes([0, 1, 1, 1, 1]) + b"12te" + bytes(1_000), 0.0)) == "too_large"


def test_row_13_prototype_keys_are_opaque():
    session = socket()
    user = join(session)
    payload = '{"__proto__":{"x":1},"constructor":{"prototype":{}}}'
    [event] = session.receive_text(f'["1","2","{T}","send_message",{payload}]', 0.0)
    assert isinstance(event, Event)
    assert event.join is user
    assert bytes(event.payload).decode() == payload


@pytest.mark.parametrize(
    "topic", ["conversation:*", "conversation:' OR 1=1--", "conversation:a\r\nb", "conversation:日本", "", "phoenix"]
)
def test_row_16_strange_topics_reach_the_refusal(topic):
    session = socket()
    [action] = session.receive_text(text("1", "1", topic, "phx_join"), 0.0)
    assert isinstance(action, Join)
    assert action.join.topic == topic
    assert reason(session.refused(action.join, phoenix.UNMATCHED_TOPIC)) == "unmatched topic"
    assert session.topics == {}


@pytest.mark.parametrize("topic", ["conversation:" + "a" * 10_240, "é" * 101])
def test_row_16_long_topics_match_nothing(topic):
    session = socket()
    for event in ("phx_join", "send_message"):
        assert reason(session.receive_text(text("1", "1", topic, event), 0.0)) == "unmatched topic"
    assert session.topics == {}


def test_row_16_an_unknown_event_is_the_upper_layers():
    session = socket()
    user = join(session)
    [event] = session.receive_text(text("1", "2", T, "phx_reply"), 0.0)
    assert isinstance(event, Event)
    assert reason(session.reply(user, event.ref, "error", phoenix.UNMATCHED_EVENT)) == "unmatched event"


def test_row_18_send_before_join_double_join_foreign_leave_reused_ref():
    session = socket()
    assert reason(session.receive_text(text("1", "1", T, "send_message"), 0.0)) == "unmatched topic"
    first = join(session)
    gone, _, again = session.receive_text(text("1", "1", T, "phx_join"), 0.0)
    assert gone == Gone(first)
    assert isinstance(again, Join)
    assert again.join is not first
    session.joined(again.join, b"{}")
    assert session.joined(first, b"{}") == ()
    left = sent(session.receive_text(text("1", "9", "conversation:x", "phx_leave"), 0.0))
    assert left == [["1", "9", "conversation:x", "phx_reply", {"status": "ok", "response": {}}]]
    for _ in range(2):  # a reused ref is answered as often as it is used
        assert isinstance(session.receive_text(text("1", "9", T, "typing"), 0.0)[0], Event)


# --- any sequence of frames

steps = st.lists(
    st.tuples(
        st.sampled_from(["phx_join", "phx_leave", "e", "heartbeat", "joined", "refused", "left", "crashed", "end"]),
        st.sampled_from(["a", "b", "phoenix"]),
        st.sampled_from(["1", "2", None]),
        st.integers(0, 5),
    ),
    max_size=40,
)


@given(steps, st.sampled_from(Version))
def test_every_request_is_answered_at_most_once_and_joins_end_once(plan, version):
    session = Session(version, SessionLimits(topics=2, held_frames=3), 0.0)
    refs = count(100)
    joins: list[phoenix.TopicJoin] = []
    ended: list[phoenix.TopicJoin] = []
    asked: set[str] = set()
    answered: list[str] = []
    stale: set[str] = set()

    def take(actions) -> None:
        for action in actions:
            match action:
                case Send(data=data):
                    frame = json.loads(data)
                    ref, event = (frame["ref"], frame["event"]) if version is Version.V1 else (frame[1], frame[3])
                    if event == "phx_reply":
                        answered.append(ref)
                case Join(join=found):
                    joins.append(found)
                case Leave(join=found) | Gone(join=found):
                    ended.append(found)
                case Event(join=found, ref=ref):
                    assert session.topics[found.topic] is found
                    assert found.state in (JoinState.JOINED, JoinState.LEAVING)
                    take(session.reply(found, ref, "ok", b"{}"))
                case Close():
                    pytest.fail("no bad frame was sent")

    for step, topic, join_ref, number in plan:
        if step in ("joined", "refused", "left", "crashed", "end"):
            if joins:
                target = joins[number % len(joins)]
                take(getattr(session, step)(target, *([b"{}"] if step in ("joined", "refused") else [])))
            continue
        ref = str(next(refs))
        asked.add(ref)
        frame = {"join_ref": join_ref, "ref": ref, "topic": topic, "event": step, "payload": {}}
        current = session.topics.get(topic)
        heartbeat = step == "heartbeat" and topic == "phoenix"
        if current and step != "phx_join" and not heartbeat and join_ref not in (None, current.join_ref):
            stale.add(ref)
        if current and step == "phx_join" and current.state is JoinState.PENDING:
            stale.add(str(current.ref))  # its phx_close is the answer
        take(session.receive_text(json.dumps(frame if version is Version.V1 else list(frame.values())), 0.0))

    for found in list(session.topics.values()):  # the server answers what is left
        take(session.joined(found, b"{}"))
        take(session.left(found))
    assert len(answered) == len(set(answered))
    assert set(answered) <= asked
    assert len(ended) == len(set(ended))
    if not stale:
        assert asked == set(answered)
    assert all(found.state is JoinState.GONE or session.topics[found.topic] is found for found in joins)
