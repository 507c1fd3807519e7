"""The client's TypeScript types are those of the code (`manage.py sdk_types`)."""

import re
from io import StringIO
from pathlib import Path

import msgspec
import pytest
from django.core.management import CommandError, call_command

from messaging import events, requests
from whispr import sdk_types
from whispr.kernel import errors


def test_the_committed_types_are_what_the_code_says() -> None:
    call_command("sdk_types", "--check", stdout=StringIO())


def test_a_file_behind_the_code_is_found_out_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "protocol.gen.ts"
    path.write_text(sdk_types.render().replace("readonly messageId: string;", "readonly id: string;", 1))
    monkeypatch.setattr(sdk_types, "PATH", path)
    with pytest.raises(CommandError, match="sdk_types"):
        call_command("sdk_types", "--check", stdout=StringIO())
    call_command("sdk_types", stdout=StringIO())
    assert path.read_text() == sdk_types.render()


def test_every_field_is_there_under_its_wire_name() -> None:
    text = sdk_types.render()
    for struct in (*sdk_types.REQUESTS, *sdk_types.ANSWERS):
        found = re.search(rf"export interface {struct.__name__} \{{\n(.*?)\n\}}", text, re.DOTALL)
        assert found, struct
        names = re.findall(r"^  readonly (\w+)\??: ", found[1], re.MULTILINE)
        assert names == list(struct.__struct_encode_fields__), struct


def test_what_may_be_missing_is_marked() -> None:
    text = sdk_types.render()
    assert "readonly clientRandom: number;\n  readonly metadata?: Readonly<Record<string, unknown>>;" in text
    # An entry leaves out what has its default; what has none is always there, null or not.
    assert "readonly ttlAfterRead?: number | null;" in text
    assert "readonly replyTo: string | null;" in text
    assert 'readonly status: "duplicate" | "pending" | "sent";' in text


def test_every_code_of_the_error_tree_is_there() -> None:
    block = sdk_types.render().split("export const ERRORS = {")[1].split("} as const")[0]
    codes = set(re.findall(r"^  (\w+): ", block, re.MULTILINE))
    assert codes == {"bad_request"} | {one.code for one in sdk_types._subclasses(errors.WhisprError)}


def test_every_request_of_the_socket_is_there() -> None:
    sent = {
        one
        for one in vars(requests).values()
        if isinstance(one, type) and issubclass(one, requests.Request) and one is not requests.Request
    }
    assert sent <= set(sdk_types.REQUESTS)
    assert events.Entry in sdk_types.ANSWERS


def test_a_type_without_a_translation_is_refused() -> None:
    with pytest.raises(TypeError):
        sdk_types._type(msgspec.inspect.type_info(complex), False)
