"""The decoders never fail but with BadFrame, whatever comes; what is encoded decodes to itself."""

import json
import sys

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from messaging import phoenix
from messaging.phoenix import BadFrame, Version

versions = st.sampled_from(Version)
refs = st.none() | st.text(max_size=16).filter(lambda ref: "\0" not in ref) | st.integers(-(2**62), 2**62)
texts = st.text(max_size=20).filter(lambda text: "\0" not in text)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
payloads = st.dictionaries(texts, values, max_size=5)
junk = st.text(alphabet=st.sampled_from('[]{}",:\\u0d8c1-.eE tnfrals\n\x00é😀'), max_size=60)


def nested(depth: int, opening: str = "[", closing: str = "]") -> str:
    """A frame whose payload's innermost bracket stands at `depth`."""
    return '["1","2","t","e",{"a":' + opening * (depth - 2) + closing * (depth - 2) + "}]"


@given(st.text() | junk | junk.map(lambda text: f'["1","2","t","e",{text}]') | values.map(json.dumps), versions)
@example("[" * 200_000, Version.V2)
@example('{"a":' * 100_000, Version.V1)
@example('["1","2","t","e",{"a":"\ud800"}]', Version.V2)
def test_text_is_a_frame_or_refused(text, version):
    try:
        frame = phoenix.decode_text(text, version)
    except BadFrame as bad:
        json.loads(msgspec.json.encode([bad.body(), bad.join_ref, bad.ref, bad.topic]))  # it can be answered
    else:
        assert isinstance(json.loads(bytes(frame.payload)), dict)


@given(st.binary() | st.binary().map(lambda data: b'["1","2","t","e",{"a":"' + data + b'"}]'), versions)
def test_bytes_are_a_frame_or_refused(data, version):
    try:
        frame = phoenix.decode_text(data, version)
    except BadFrame:
        return
    assert isinstance(json.loads(bytes(frame.payload).decode("utf-8")), dict)


@given(st.binary() | st.binary().map(lambda data: b"\0\1\1\1\1" + data))
def test_binary_is_a_frame_or_refused(data):
    try:
        frame = phoenix.decode_binary(data)
    except BadFrame:
        return
    assert data.endswith(frame.payload)


@given(st.binary() | st.binary().map(lambda data: b"\0\0\0\2" + data))
def test_envelope_is_split_or_refused(data):
    try:
        header, content = phoenix.split_envelope(data)
    except BadFrame:
        return
    assert phoenix.join_envelope(header, content) == data
    assert isinstance(json.loads(header), dict)


@given(versions, refs, refs, texts, texts, payloads)
def test_text_round_trip(version, join_ref, ref, topic, event, payload):
    encoded = msgspec.json.encode(payload)
    frame = phoenix.decode_text(phoenix.encode_message(version, join_ref, ref, topic, event, encoded), version)
    seen = frame.ref, frame.topic, frame.event, bytes(frame.payload)
    assert seen == (ref, topic, event, encoded)
    assert frame.join_ref == (join_ref if version is Version.V2 else None)  # a v1 server message has none


@given(st.text("ab€", min_size=1, max_size=8), st.text("ab€", min_size=1, max_size=8), st.binary(max_size=40))
def test_binary_round_trip(ref, topic, payload):
    header = [ref.encode(), ref.encode(), topic.encode(), b"send_message"]
    data = bytes((0, *map(len, header))) + b"".join(header) + payload
    frame = phoenix.decode_binary(data)
    assert (frame.join_ref, frame.ref, frame.topic, frame.event) == (ref, ref, topic, "send_message")
    assert frame.payload == payload


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
def test_depth(opening, closing):
    step = opening.count("[") + opening.count("{")
    inner = 62 // step
    value = opening * inner + "1" + closing * inner
    phoenix.decode_text(f'["1","2","t","e",{{"a":{value}}}]', Version.V2)
    with pytest.raises(BadFrame, match="nested deeper than 64") as refusal:
        phoenix.decode_text(f'["1","2","t","e",{{"a":{opening}{value}{closing}}}]', Version.V2)
    assert (refusal.value.join_ref, refusal.value.ref, refusal.value.topic) == ("1", "2", "t")


@pytest.mark.parametrize("depth", [65, 1_500, 100_000])
@pytest.mark.parametrize("limit", [200, 10_000])
def test_depth_does_not_depend_on_the_stack(depth, limit):
    old = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, old))
    try:
        with pytest.raises(BadFrame):
            phoenix.decode_text(nested(depth), Version.V2)
    finally:
        sys.setrecursionlimit(old)


def test_brackets_in_strings_do_not_nest():
    value = json.dumps("[{" * 5_000 + '\\"[' * 100 + "\\")
    frame = phoenix.decode_text(f'["1","2","t","e",{{"a":{value}}}]', Version.V2)
    assert json.loads(bytes(frame.payload)) == {"a": json.loads(value)}
    flat = '["1","2","t","e",{"a":[' + "[]," * 5_000 + "{}]}]"
    assert phoenix.decode_text(flat, Version.V2).ref == "2"


def test_binary_texts_have_255_bytes_at_most():
    assert phoenix.encode_binary_push("1", "t" * 255, "e", b"")[2] == 255
    for encode in (
        lambda: phoenix.encode_binary_push("j" * 256, "t", "e", b""),
        lambda: phoenix.encode_binary_reply("1", "r" * 256, "t", "ok", b""),
        lambda: phoenix.encode_binary_broadcast("t" * 256, "e", b""),
        lambda: phoenix.binary_push_head("1", "t", "€" * 86),
    ):
        with pytest.raises(ValueError):
            encode()


@pytest.mark.parametrize(
    ("vsn", "version"),
    [
        (None, Version.V1), ("1.0.0", Version.V1), ("2.0.0", Version.V2), ("2.0.7", Version.V2), ("2.1.0", None),
        ("3.0.0", None), ("2.0", None), ("2.0.00", None), ("", None), ("2.0.0\n", None), ("123.1.1", None), ("x", None),
    ],
)  # fmt: skip
def test_vsn(vsn, version):
    assert phoenix.parse_vsn(vsn) is version
