"""The TypeScript types of the client, made from the code: what is sent, what is answered, the errors and the limits.

`manage.py sdk_types` writes them to `sdk/packages/client/src/protocol.gen.ts`, and a test fails while that file is
behind the code.
"""

import inspect
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
from msgspec import NODEFAULT
from msgspec import inspect as kinds

from messaging import devices, events, personal, requests
from messaging.api import shapes
from messaging.services import dev_login, history, sync, tickets
from whispr.kernel import errors
from whispr.kernel.limits import Limits

PATH = Path(__file__).resolve().parent.parent / "sdk" / "packages" / "client" / "src" / "protocol.gen.ts"
Struct = type[msgspec.Struct]

REQUESTS: tuple[Struct, ...] = (
    requests.SendMessage,
    requests.EditMessage,
    requests.DeleteMessage,
    requests.React,
    requests.Ack,
    requests.Acks,
    requests.Typing,
    requests.RenewToken,
    requests.History,
    requests.Join,
    requests.Sync,
    requests.CreateConversation,
    personal.ScheduleMessage,
    personal.UpdateScheduled,
    personal.SaveDraft,
    devices.RegisterDevice,
    devices.UpdateDevice,
    devices.NotificationChoice,
    devices.UpdateNotifications,
    devices.UpdateSettings,
    shapes.AddMembers,
    shapes.UpdateMember,
    shapes.UpdateConversation,
)
ANSWERS: tuple[Struct, ...] = (
    events.Entry,
    events.EditReference,
    events.ReactionView,
    events.MessageView,
    events.Receipt,
    events.MediaMetadata,
    events.SendOutcome,
    events.ConversationView,
    events.MemberView,
    events.MemberReceipt,
    events.DeliveryView,
    events.DeliveryCounts,
    events.ErasureView,
    events.BlockedUser,
    devices.DeviceView,
    devices.PeerDevice,
    devices.ConversationDevices,
    devices.NotificationSettings,
    devices.UserSettingsView,
    personal.ScheduledView,
    personal.ScheduledList,
    personal.DraftView,
    personal.DraftList,
    history.HistoryPage,
    sync.Chain,
    sync.SyncedConversation,
    sync.SyncPage,
    shapes.ConversationList,
    shapes.BlockList,
    shapes.MemberList,
    shapes.ReceiptList,
    shapes.DeliveryList,
    shapes.ReactionList,
    shapes.DeviceList,
    dev_login.DevToken,
    dev_login.DevPersonView,
    tickets.Ticket,
)
# What a client decides by before it asks; the server's operator may have changed it, and then answers.
LIMITS_SHOWN = (
    "content_bytes",
    "metadata_bytes",
    "emoji_bytes",
    "media_bytes",
    "acks_per_request",
    "page_max",
    "page_default",
    "ttl_min_seconds",
    "ttl_max_seconds",
    "window_entries",
    "window_bytes",
    "request_seconds",
)


def render() -> str:
    """The whole file."""
    parts = [
        "// Made by `manage.py sdk_types` from the server's code. Do not edit: a test fails when this differs.\n",
        "/** An object whose fields the protocol leaves open. */",
        "export type JsonObject = Readonly<Record<string, unknown>>;\n",
        _codes(),
        "/** Defaults of the server's limits; sizes in bytes. */\nexport const LIMITS = "
        + _object({name: Limits.__dataclass_fields__[name].default for name in LIMITS_SHOWN})
        + " as const;\n",
        "// --- What a client sends\n",
        *(_interface(one, is_request=True) for one in REQUESTS),
        "// --- What the server answers and pushes\n",
        *(_interface(one, is_request=False) for one in ANSWERS),
    ]
    return "\n".join(parts)


def _codes() -> str:
    """Each code with its HTTP status and after how many seconds a client asks again where it is not told."""
    found = {"bad_request": errors.BadRequest} | {
        one.code: one for one in _subclasses(errors.WhisprError) if "code" in vars(one)
    }
    rows = {code: {"status": one.status, "retryAfter": one.default_retry_after} for code, one in sorted(found.items())}
    body = "".join(f"  {code}: {_object(row)},\n" for code, row in rows.items())
    return (
        "/** The codes of docs/protocol.md §6: their HTTP status, and when to ask again (seconds). */\n"
        f"export const ERRORS = {{\n{body}}} as const;\n\nexport type ErrorCode = keyof typeof ERRORS;\n"
    )


def _subclasses(kind: type[errors.WhisprError]) -> list[type[errors.WhisprError]]:
    own = [one for one in kind.__subclasses__() if one.__module__ == errors.__name__]
    return [*own, *(below for one in own for below in _subclasses(one))]


def _object(fields: dict[str, Any]) -> str:
    return "{ " + ", ".join(f"{_camel(name)}: {json.dumps(value)}" for name, value in fields.items()) + " }"


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(one.capitalize() for one in rest)


def _interface(struct: Struct, *, is_request: bool) -> str:
    """One struct. A field may be missing in a request where it has a default, in an answer where defaults are left
    out."""
    info = kinds.type_info(struct)
    assert isinstance(info, kinds.StructType)
    is_spare = is_request or struct.__struct_config__.omit_defaults
    lines = [f"/** {_first_line(struct)} */", f"export interface {struct.__name__} {{"]
    for field in info.fields:
        has_default = field.default is not NODEFAULT or field.default_factory is not NODEFAULT
        is_unset = not has_default and not field.required  # of msgspec.UNSET
        is_optional = is_unset or (is_spare and has_default)
        lines.append(f"  readonly {field.encode_name}{'?' if is_optional else ''}: {_type(field.type, is_request)};")
    return "\n".join([*lines, "}\n"])


def _first_line(struct: Struct) -> str:
    text = inspect.getdoc(struct) or struct.__name__
    return " ".join(text.split("\n\n")[0].split()).replace("*/", "")


_NAMES: tuple[tuple[type[kinds.Type], str], ...] = (
    (kinds.NoneType, "null"),
    (kinds.BoolType, "boolean"),
    (kinds.IntType, "number"),
    (kinds.FloatType, "number"),
    (kinds.StrType, "string"),
    (kinds.BytesType, "string"),  # base64
    (kinds.DateTimeType, "string"),  # RFC 3339
    (kinds.UUIDType, "string"),
    (kinds.RawType, "JsonObject"),  # a stored JSON object that is passed on as it is
    (kinds.AnyType, "unknown"),
)


def _type(kind: kinds.Type, is_request: bool) -> str:
    if isinstance(kind, kinds.Metadata):
        return _type(kind.type, is_request)
    if isinstance(kind, kinds.UnionType):
        return " | ".join(_unique(_type(one, is_request) for one in kind.types))
    if isinstance(kind, kinds.LiteralType):
        return " | ".join(json.dumps(value) for value in sorted(kind.values, key=str))
    if isinstance(kind, kinds.ListType | kinds.VarTupleType):
        inner = _type(kind.item_type, is_request)
        return f"readonly ({inner})[]" if " " in inner else f"readonly {inner}[]"
    if isinstance(kind, kinds.DictType):
        return f"Readonly<Record<string, {_type(kind.value_type, is_request)}>>"
    if isinstance(kind, kinds.StructType):
        return kind.cls.__name__
    for one, name in _NAMES:
        if isinstance(kind, one):
            return name
    raise TypeError(f"{kind} has no TypeScript type yet")


def _unique(names: Iterable[str]) -> list[str]:
    """Without repetitions; null last, as people write it."""
    found = dict.fromkeys(names)
    return [*(name for name in found if name != "null"), *(name for name in found if name == "null")]
