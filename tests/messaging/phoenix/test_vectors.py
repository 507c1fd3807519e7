"""The language-neutral cases of tests/vectors/phoenix.json; the TypeScript client runs the same file."""

import json
from pathlib import Path
from typing import Any

import pytest

from messaging import phoenix
from messaging.phoenix import Actions, BadFrame, Session, SessionLimits, TopicJoin, Version

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "phoenix.json").read_text("utf-8"))


def cases(kind: str) -> Any:
    return pytest.mark.parametrize("case", VECTORS[kind], ids=lambda case: case["name"])


def compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


@cases("decode")
def test_decode(case):
    version = Version(case["version"])
    for data in (case["in"], case["in"].encode()):
        if "error" in case:
            with pytest.raises(BadFrame) as refusal:
                phoenix.decode_text(data, version)
            assert refusal.value.code == case["error"]
            continue
        frame = phoenix.decode_text(data, version)
        payload = bytes(frame.payload)
        if "out_text" in case:
            assert payload.decode() == case["out_text"]
        else:
            assert [frame.join_ref, frame.ref, frame.topic, frame.event, json.loads(payload)] == case["out"]


@cases("encode")
def test_encode(case):
    version = Version(case["version"])
    join_ref, ref, topic, event, payload = case["message"]
    assert phoenix.encode_message(version, join_ref, ref, topic, event, compact(payload)) == case["out"]
    if event == "phx_reply":
        response = compact(payload["response"])
        assert phoenix.encode_reply(version, join_ref, ref, topic, payload["status"], response) == case["out"]
    if ref is None:
        assert phoenix.encode_push(version, join_ref, topic, event, compact(payload)) == case["out"]
        head, tail = phoenix.push_head(version, join_ref, topic), phoenix.push_tail(version, event, compact(payload))
        assert head + tail == case["out"]


@cases("binary")
def test_binary(case):
    data = bytes.fromhex(case["hex"])
    if "error" in case:
        with pytest.raises(BadFrame) as refusal:
            phoenix.decode_binary(data)
        assert refusal.value.code == case["error"]
        return
    payload = bytes.fromhex(case["payload"])
    match case["kind"]:
        case "client_push":
            frame = phoenix.decode_binary(data)
            assert (frame.join_ref, frame.ref, frame.topic) == (case["join_ref"], case["ref"], case["topic"])
            assert (frame.event, frame.payload) == (case["event"], payload)
        case "push":
            join_ref, topic, event = case["join_ref"], case["topic"], case["event"]
            assert phoenix.encode_binary_push(join_ref, topic, event, payload) == data
            assert phoenix.binary_push_head(join_ref, topic, event) + payload == data
        case "reply":
            join_ref, ref, topic = case["join_ref"], case["ref"], case["topic"]
            assert phoenix.encode_binary_reply(join_ref, ref, topic, case["status"], payload) == data
        case "broadcast":
            assert phoenix.encode_binary_broadcast(case["topic"], case["event"], payload) == data
        case kind:
            pytest.fail(f"unknown kind {kind}")


@cases("envelopes")
def test_envelope(case):
    data = bytes.fromhex(case["hex"])
    if "error" in case:
        with pytest.raises(BadFrame):
            phoenix.split_envelope(data)
        return
    header, content = phoenix.split_envelope(data)
    assert (header.decode(), content.hex()) == (case["header"], case["content"])
    assert phoenix.join_envelope(header, content) == data


def plain(actions: Actions) -> list[dict[str, Any]]:
    """The actions as the vectors write them."""
    found: list[dict[str, Any]] = []
    for action in actions:
        match action:
            case phoenix.Send(data=data):
                found.append({"send": json.loads(data)})
            case phoenix.Join(join=join):
                found.append({"join": join.topic})
            case phoenix.Leave(join=join):
                found.append({"leave": join.topic})
            case phoenix.Gone(join=join):
                found.append({"gone": join.topic})
            case phoenix.Event(join=join, ref=ref, event=event, payload=bytes() as payload):
                found.append({"event_hex": [join.topic, ref, event, payload.hex()]})
            case phoenix.Event(join=join, ref=ref, event=event, payload=payload):
                found.append({"event": [join.topic, ref, event, json.loads(bytes(payload))]})
            case phoenix.Close(code=code):
                found.append({"close": code})
    return found


@cases("sessions")
def test_session(case):
    session = Session(Version(case["version"]), SessionLimits(), 0.0)
    joins: dict[str, list[TopicJoin]] = {}
    for step in case["steps"]:
        now = float(step.get("at", 0))
        actions: Actions
        if "client" in step:
            actions = session.receive_text(step["client"], now)
        elif "client_hex" in step:
            actions = session.receive_binary(bytes.fromhex(step["client_hex"]), now)
        elif "idle" in step:
            close = session.idle(now)
            actions = (close,) if close else ()
        else:
            join = joins[step["topic"]][step.get("join", -1)]
            response = (compact(step["response"]),) if "response" in step else ()
            actions = getattr(session, step["server"])(join, *response)
        for action in actions:
            if isinstance(action, phoenix.Join):
                joins.setdefault(action.join.topic, []).append(action.join)
        assert plain(actions) == step["out"]
