"""the reliability catalogue §3 on REST: every row a coded refusal, never a 500, and nothing written."""

import base64
import json
from uuid import uuid4

import jwt
import pytest

from messaging.models import Conversation, Message
from tests.messaging.api.client import Answer, Client, message
from whispr.kernel import database
from whispr.kernel.limits import LIMITS

KIB = 1024
DEEP = 100_000


def body_with(**fields: object) -> bytes:
    """A send's JSON with raw texts in place of values: `_raw("NaN")` is not JSON for any encoder."""
    whole = {"conversationId": "CONVERSATION", "type": "text", "content": "eA==", "clientRandom": 1} | fields
    return b"{" + b",".join(_raw(name) + b":" + _raw(value) for name, value in whole.items()) + b"}"


class Raw(bytes):
    """JSON text that is put in as it is."""


def _raw(value: object) -> bytes:
    return value if isinstance(value, Raw) else json.dumps(value).encode()


BAD_REQUEST = (400, "bad_request")
TOO_LARGE = (413, "too_large")

# (row of the reliability catalogue §3, body, (status, code))
SENDS: list[tuple[str, bytes, tuple[int, str]]] = [
    ("1 open brace", b"{", BAD_REQUEST),
    ("1 truncated", body_with()[:-1], BAD_REQUEST),
    ("1 junk after", body_with() + b"x", BAD_REQUEST),
    ("1 empty", b"", BAD_REQUEST),
    ("3 invalid UTF-8", body_with(metadata=Raw(b'{"a":"\xff"}')), BAD_REQUEST),
    ("4 body over the limit", body_with(x="y" * LIMITS.frame_bytes), TOO_LARGE),
    ("7 deep arrays", body_with(x=Raw(b"[" * 1_500 + b"]" * 1_500)), BAD_REQUEST),
    ("7 deep objects", body_with(x=Raw(b'{"a":' * 1_500 + b"1" + b"}" * 1_500)), BAD_REQUEST),
    ("7 deeper", b"[" * DEEP, BAD_REQUEST),
    ("7 metadata over its depth", body_with(metadata=Raw(b'{"a":' * 10 + b"1" + b"}" * 10)), BAD_REQUEST),
    ("8 NUL in a value", body_with(metadata=Raw(b'{"a":"\\u0000"}')), BAD_REQUEST),
    ("8 NUL in a key", body_with(metadata=Raw(b'{"\\u0000":1}')), BAD_REQUEST),
    ("8 raw NUL", body_with(metadata=Raw(b'{"a":"\x00"}')), BAD_REQUEST),
    ("9 lone high surrogate", body_with(metadata=Raw(b'{"a":"\\ud800"}')), BAD_REQUEST),
    ("9 lone low surrogate", body_with(metadata=Raw(b'{"a":"\\udc00x"}')), BAD_REQUEST),
    ("9 surrogate in bytes", body_with(metadata=Raw(b'{"a":"\xed\xa0\x80"}')), BAD_REQUEST),
    *(
        (f"10 clientRandom {text}", body_with(clientRandom=Raw(text.encode())), BAD_REQUEST)
        for text in (
            "9007199254740992",
            "9223372036854775808",
            "-1",
            "1.0",
            '"1"',
            "true",
            "null",
            "NaN",
            "1e400",
            "[]",
        )
    ),
    ("10 clientRandom absent", body_with(clientRandom=Raw(b"1")).replace(b'"clientRandom":1', b'"x":1'), BAD_REQUEST),
    ("11 long integer", body_with(metadata=Raw(b'{"a":' + b"9" * 4_000 + b"}")), BAD_REQUEST),
    ("11 2^53", body_with(metadata={"a": 2**53}), BAD_REQUEST),
    ("11 1e308", body_with(metadata={"a": 1e308}), BAD_REQUEST),
    ("11 1e-300", body_with(metadata={"a": [1e-300]}), BAD_REQUEST),
    ("11 1e400", body_with(metadata=Raw(b'{"a":1e400}')), BAD_REQUEST),
    ("11 NaN", body_with(metadata=Raw(b'{"a":NaN}')), BAD_REQUEST),
    ("11 Infinity", body_with(metadata=Raw(b'{"a":-Infinity}')), BAD_REQUEST),
    ("13 many keys", body_with(metadata={f"k{n}": n for n in range(5_000)}), TOO_LARGE),
    ("13 a long key", body_with(metadata={"k" * 5_000: 1}), TOO_LARGE),
    ("13 metadata over its limit", body_with(metadata={"a": "x" * 4 * KIB}), TOO_LARGE),
    ("14 content object", body_with(content={}), BAD_REQUEST),
    ("14 content number", body_with(content=1), BAD_REQUEST),
    ("14 content null", body_with(content=None), BAD_REQUEST),
    ("14 content no base64", body_with(content="*"), BAD_REQUEST),
    ("14 content without padding", body_with(content="eA"), BAD_REQUEST),
    ("14 content empty", body_with(content=""), BAD_REQUEST),
    ("14 content url-safe", body_with(content="-_8="), BAD_REQUEST),
    ("14 content with NUL", body_with(content="eA==\x00"), BAD_REQUEST),
    ("14 content over 64 KiB", body_with(content=base64.b64encode(bytes(64 * KIB + 1)).decode()), TOO_LARGE),
    ("15 null", b"null", BAD_REQUEST),
    ("15 list", b"[]", BAD_REQUEST),
    ("15 string", b'"x"', BAD_REQUEST),
    ("15 number", b"1", BAD_REQUEST),
    ("16 conversation *", body_with(conversationId="*"), BAD_REQUEST),
    ("16 conversation SQL", body_with(conversationId="' OR 1=1--"), BAD_REQUEST),
    ("16 conversation CRLF", body_with(conversationId="\r\n"), BAD_REQUEST),
    ("16 conversation null", body_with(conversationId=None), BAD_REQUEST),
    ("19 type system", body_with(type="system"), (403, "forbidden")),
    ("19 type unknown", body_with(type="telegram"), BAD_REQUEST),
    ("19 type list", body_with(type=["text"]), BAD_REQUEST),
    ("54 signature not base64", body_with(signature="*"), (422, "invalid_signature")),
    ("54 signature short", body_with(signature="eA=="), (422, "invalid_signature")),
    ("54 signature long", body_with(signature="A" * 90_000), (422, "invalid_signature")),
    ("ttl 0", body_with(ttl=0), BAD_REQUEST),
    ("ttl over 4 weeks", body_with(ttl=4 * 7 * 24 * 3600 + 1), BAD_REQUEST),
    ("ttl text", body_with(ttl="1"), BAD_REQUEST),
    ("reply to nothing", body_with(replyTo=str(uuid4())), (422, "invalid_target")),
    ("reply to no id", body_with(replyTo="x"), BAD_REQUEST),
    ("stale membership", body_with(membersVersion=7), (409, "stale_membership")),
]


def refused(answer: Answer, status: int, code: str) -> bool:
    return (answer.status, answer.code) == (status, code)


async def test_no_bad_send_is_stored():
    ann = Client()
    conversation = await ann.group()
    failures = []
    for name, body, (status, code) in SENDS:
        answer = await ann.ask("POST", "/messages", body=body.replace(b"CONVERSATION", conversation.encode()))
        if not refused(answer, status, code):
            failures.append((name, answer.status, answer.body[:200]))
    assert failures == []
    assert (await ann.get(f"/conversations/{conversation}")).json["lastSeq"] == 1
    assert await database.run(Message.objects.count) == 1


async def test_the_same_body_without_its_fault_is_stored():
    ann = Client()
    conversation = await ann.group()
    body = body_with(metadata={"__proto__": {"constructor": "\\u0000 \U0001f600"}, "a": 2**53 - 1, "b": -0.5})
    answer = await ann.ask("POST", "/messages", body=body.replace(b"CONVERSATION", conversation.encode()))
    assert answer.status == 201, answer
    seen = (await ann.get(f"/messages/{answer.json['messageId']}")).json
    assert seen["metadata"] == {"__proto__": {"constructor": "\\u0000 \U0001f600"}, "a": 2**53 - 1, "b": -0.5}
    largest = message(conversation, bytes(64 * KIB))
    assert (await ann.post("/messages", largest)).status == 201


async def test_other_bodies_and_queries():
    ann = Client()
    conversation = await ann.group()
    path = f"/conversations/{conversation}"
    one, two = str(uuid4()), str(uuid4())
    cases: list[tuple[str, str, object, tuple[int, str]]] = [
        ("POST", "/conversations", {}, BAD_REQUEST),
        ("POST", "/conversations", {"type": "direct", "members": []}, BAD_REQUEST),
        ("POST", "/conversations", {"type": "direct", "members": [str(ann.user)]}, BAD_REQUEST),
        ("POST", "/conversations", {"type": "direct", "members": [one, two]}, BAD_REQUEST),
        ("POST", "/conversations", {"type": "crowd", "members": [one]}, BAD_REQUEST),
        ("POST", "/conversations", {"type": "group", "members": ["x"]}, BAD_REQUEST),
        ("POST", "/conversations", {"type": "group", "members": one}, BAD_REQUEST),
        ("POST", "/conversations", {"type": "group", "members": [], "id": 7}, BAD_REQUEST),
        ("POST", "/conversations", {"type": "group", "members": [], "settings": []}, BAD_REQUEST),
        ("POST", "/conversations", {"type": "group", "members": [], "settings": {"a": "\0"}}, BAD_REQUEST),
        ("POST", "/conversations", {"type": "group", "members": [], "settings": {"a": "x" * 5_000}}, TOO_LARGE),
        ("POST", "/conversations", {"type": "group", "members": [str(uuid4()) for _ in range(1_000)]}, BAD_REQUEST),
        ("PATCH", path, {}, BAD_REQUEST),
        ("PATCH", path, {"settings": None}, BAD_REQUEST),
        ("POST", f"{path}/members", {"userIds": []}, BAD_REQUEST),
        ("POST", f"{path}/members", {"userIds": [None]}, BAD_REQUEST),
        ("POST", f"{path}/members", {"userIds": [str(uuid4()) for _ in range(1_001)]}, BAD_REQUEST),
        ("PATCH", f"{path}/members/{ann.user}", {"role": None}, BAD_REQUEST),
        ("POST", "/acks", {}, BAD_REQUEST),
        ("POST", "/acks", {"conversationId": conversation}, BAD_REQUEST),
        ("POST", "/acks", {"conversationId": conversation, "upTo": -1}, BAD_REQUEST),
        ("POST", "/acks", {"conversationId": conversation, "upTo": 2**63}, BAD_REQUEST),
        ("POST", "/acks", {"conversationId": conversation, "upTo": 99}, BAD_REQUEST),
        ("POST", "/acks", {"conversationId": one, "upTo": 1}, (404, "not_found")),
        ("POST", "/acks", {"conversationId": conversation, "upTo": 1, "messageIds": []}, BAD_REQUEST),
        ("POST", "/acks", {"messageIds": ["x"]}, BAD_REQUEST),
        ("POST", "/acks", {"messageIds": [one] * 10_000}, TOO_LARGE),
        ("POST", "/acks", {"messageIds": [one] * 257}, BAD_REQUEST),
        ("POST", "/acks", {"messageIds": [], "status": "loved"}, BAD_REQUEST),
        ("POST", "/sync", {"cursors": []}, BAD_REQUEST),
        ("POST", "/sync", {"cursors": {"x": 1}}, BAD_REQUEST),
        ("POST", "/sync", {"cursors": {one: -1}}, BAD_REQUEST),
        ("POST", "/sync", {"cursors": {one: 10**30}}, BAD_REQUEST),
        ("POST", "/sync", {"limit": "1"}, BAD_REQUEST),
        ("POST", "/devices", {}, BAD_REQUEST),
        ("POST", "/devices", {"publicKey": "x"}, BAD_REQUEST),
        ("PATCH", "/settings", {"readReceipts": "yes"}, BAD_REQUEST),
        ("PATCH", "/settings", [], BAD_REQUEST),
        ("POST", "/dev/tokens", {"name": ""}, BAD_REQUEST),
        ("POST", "/dev/tokens", {"name": "x" * 65}, BAD_REQUEST),
        ("POST", "/dev/tokens", {"name": 7}, BAD_REQUEST),
        ("GET", f"{path}/messages?before=1&after=1", None, BAD_REQUEST),
        ("GET", f"{path}/messages?before=0", None, BAD_REQUEST),
        ("GET", f"{path}/messages?before=-1", None, BAD_REQUEST),
        ("GET", f"{path}/messages?after=-1", None, BAD_REQUEST),
        ("GET", f"{path}/messages?after={10**30}", None, BAD_REQUEST),
        ("GET", f"{path}/messages?after=1.5", None, BAD_REQUEST),
        ("GET", f"{path}/messages?after=%00", None, BAD_REQUEST),
        ("GET", f"{path}/messages?after=' OR 1=1--", None, BAD_REQUEST),
        ("GET", f"{path}/messages?limit=ten", None, BAD_REQUEST),
        ("GET", f"{path}/messages?limit=", None, BAD_REQUEST),
        ("GET", f"{path}/messages?limit=\u0663", None, BAD_REQUEST),
        ("GET", f"{path}/messages?limit={'9' * 5_000}", None, BAD_REQUEST),
        ("GET", "/conversations?limit=x", None, BAD_REQUEST),
        ("GET", "/conversations?cursor=%00", None, BAD_REQUEST),
        ("GET", "/messages/*", None, (404, "not_found")),
        ("GET", f"/messages/{one}%00", None, (404, "not_found")),
        ("GET", f"/messages/{{{one}}}", None, (404, "not_found")),
        ("GET", f"/messages/{one.replace('-', '')}", None, (404, "not_found")),
        ("GET", "/messages/' OR 1=1--", None, (404, "not_found")),
        ("GET", f"/messages/{'a' * 10_000}", None, (404, "not_found")),
        ("GET", "/messages/\r\n", None, (404, "not_found")),
        ("GET", f"/conversations/{conversation}/", None, (404, "not_found")),
        ("GET", "/", None, (404, "not_found")),
        ("POST", "/nothing", {}, (404, "not_found")),
    ]
    failures = []
    for method, target, value, (status, code) in cases:
        answer = await ann.ask(method, target, body=None if value is None else json.dumps(value).encode())
        if not refused(answer, status, code):
            failures.append((method, target[:80], str(value)[:80], answer.status, answer.body[:200]))
    assert failures == []
    assert await database.run(Conversation.objects.count) == 1
    assert await database.run(Message.objects.count) == 1


async def test_cursors_of_other_conversations_give_nothing():
    ann, eve = Client(), Client()
    conversation = await ann.group()
    await ann.send(conversation)
    page = (await eve.post("/sync", {"cursors": {conversation: 0, str(uuid4()): 0}})).json
    assert page["conversations"] == []


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": None},
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "multipart/form-data; boundary=x"},
        {"content-type": "application/jsonx"},
    ],
)
async def test_a_body_must_be_json(headers):
    answer = await Client().ask("POST", "/messages", body=b"{}", headers=headers)
    assert (answer.status, answer.code) == (415, "bad_request")


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "*/*", "nonsense", ""])
async def test_answers_are_json_whatever_is_accepted(accept):
    answer = await Client().get("/settings", headers={"accept": accept})
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")


def _unsigned(alg: str) -> str:
    def part(value: dict) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    claims = {"sub": str(uuid4()), "device": str(uuid4()), "iss": "whispr", "aud": "whispr", "iat": 1, "exp": 2**33}
    return f"{part({'alg': alg, 'typ': 'JWT'})}.{part(claims | {'jti': 'x'})}."


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer x",
        "Basic eDp5",
        "Bearer a.b.c",
        *(f"Bearer {_unsigned(alg)}" for alg in ("none", "None", "nOnE", "NONE")),
        "Bearer " + jwt.encode({"sub": "x"}, "a secret for tests, of more than 32 bytes"),
        "Bearer " + "x" * 20_000,
        "Bearer \xff\xfe",
    ],
)
async def test_no_valid_token(header):
    answer = await Client(token=None).get("/conversations", headers={} if header is None else {"authorization": header})
    assert (answer.status, answer.code) == (401, "unauthenticated")
    assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_a_token_counts_in_the_header_only():
    ann = Client()
    stranger = Client(token=None)
    for query in (f"token={ann.token}", f"access_token={ann.token}"):
        assert (await stranger.get(f"/conversations?{query}")).status == 401
    assert (await stranger.get("/conversations", headers={"cookie": f"token={ann.token}"})).status == 401


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "PROPFIND", "GET "])
async def test_methods_that_are_not_served(method):
    answer = await Client().ask(method, "/messages")
    assert (answer.status, answer.code) == (405, "bad_request")
    assert answer.headers["allow"] == "POST, OPTIONS"


async def test_head_and_options():
    ann = Client()
    assert (await ann.ask("HEAD", "/settings")).status == 200
    assert (await ann.ask("HEAD", "/messages")).status == 405
    options = await ann.ask("OPTIONS", "/settings")
    assert (options.status, options.body, options.headers["allow"]) == (204, b"", "GET, PATCH, HEAD, OPTIONS")


async def test_nothing_of_the_api_is_stored_by_a_cache():
    ann = Client()
    conversation = await ann.group()
    for path in ("/settings", f"/conversations/{conversation}/messages", "/nothing", "/messages/x"):
        assert (await ann.get(path)).headers["cache-control"] == "no-store"
    assert (await Client(token=None).get("/settings")).headers["cache-control"] == "no-store"


async def test_a_bad_host_is_a_problem_too():
    answer = await Client().get("/settings", headers={"host": "evil.example"})
    assert (answer.status, answer.code) == (400, "bad_request")
