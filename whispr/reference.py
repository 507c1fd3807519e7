"""The reference tables of `docs/`, made from the code: requests, events, errors, limits, routes, metrics.

A page holds them between `<!-- generated: NAME -->` and `<!-- end: NAME -->`; `manage.py reference` writes them anew,
and a test fails while a page is behind the code.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from drf_spectacular.generators import SchemaGenerator
from prometheus_client.metrics import MetricWrapperBase

from delivery.store.reconcile_checks import CHECKS, KEY_ORPHAN
from messaging import events, requests
from whispr.kernel import errors, limits, telemetry

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGES = ("protocol.md", "operations.md")
_SECTION = re.compile(r"(<!-- generated: (?P<name>[\w-]+) -->\n).*?(<!-- end: (?P=name) -->)", re.DOTALL)

Json = Mapping[str, Any]


class StalePage(Exception):
    """A page has a marker that nothing here renders."""


def render(page: str) -> str:
    """`page` with all its generated sections as the code has them now. Raises StalePage for an unknown name."""

    def section(match: re.Match[str]) -> str:
        name = match["name"]
        if name not in SECTIONS:
            raise StalePage(f"there is no generated section {name}")
        return f"{match[1]}\n{SECTIONS[name]().strip()}\n\n{match[3]}"

    return _SECTION.sub(section, page)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def requests_section() -> str:
    """A table of fields for each request that both transports, or the socket alone, take."""
    kinds = (
        requests.SendMessage,
        requests.EditMessage,
        requests.DeleteMessage,
        requests.React,
        requests.Acks,
        requests.Ack,
        requests.Typing,
        requests.RenewToken,
        requests.History,
        requests.Join,
        requests.Sync,
        requests.CreateConversation,
    )
    return _structs(kinds, with_default=True)


def events_section() -> str:
    """A table of fields for each value that the server sends."""
    kinds = (
        events.Entry,
        events.MessageView,
        events.EditReference,
        events.ReactionView,
        events.Receipt,
        events.SendOutcome,
        events.ConversationView,
        events.MemberView,
        events.MemberReceipt,
        events.DeliveryView,
        events.ErasureView,
    )
    return _structs(kinds, with_default=False)


def errors_section() -> str:
    """The codes, from the tree of errors."""
    found = {kind.code: kind for kind in reversed(_subclasses(errors.WhisprError)) if "code" in vars(kind)}
    found[errors.WhisprError.code] = errors.BadRequest
    rows = [
        (f"`{kind.code}`", kind.status, _seconds(kind.default_retry_after), _sentence(inspect.getdoc(kind) or ""))
        for kind in sorted(found.values(), key=lambda kind: (kind.status, kind.code))
    ]
    return table(("code", "HTTP", "`retryAfter`", "when"), rows)


def limits_section() -> str:
    """Every limit with its default, its setting and the comment beside it in the code."""
    parts: list[str] = []
    rows: list[tuple[str, str, str]] = []
    for line in inspect.getsource(limits.Limits).splitlines():
        heading = re.fullmatch(r"    # (.+)", line)
        field = re.fullmatch(r"    (\w+): int = ([\d_ *]+?)(?:  # (.*))?", line)
        if heading:
            rows = []
            parts.append(f"**{heading[1]}**")
            parts.append("")
        elif field:
            default = limits.Limits.__dataclass_fields__[field[1]].default
            rows.append((f"`WHISPR_{field[1].upper()}`", f"{default:,}", field[3] or ""))
            if len(rows) > 1:
                parts.pop()
            parts.append(table(("setting", "default", "what"), rows) + "\n")
    return "\n".join(parts)


def routes_section() -> str:
    """The routes that are served, from the OpenAPI description."""
    schema: Json = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    rows = [
        (f"`{method.upper()} {path.removeprefix('/api/v1')}`", found["summary"], _statuses(found["responses"]))
        for path, methods in sorted(schema["paths"].items())
        for method, found in methods.items()
        if method in ("get", "post", "put", "patch", "delete")
    ]
    return table(("route", "what", "answers"), rows)


def metrics_section() -> str:
    """The metrics, from `whispr/kernel/telemetry.py`."""
    metrics = [metric for metric in vars(telemetry).values() if isinstance(metric, MetricWrapperBase)]
    rows = [
        (
            f"`{metric._name}{'_total' if metric._type == 'counter' else ''}`",
            metric._type,
            ", ".join(f"`{label}`" for label in metric._labelnames),
            metric._documentation,
        )
        for metric in sorted(metrics, key=lambda metric: str(metric._name))
    ]
    return table(("metric", "type", "labels", "what"), rows)


def reconcile_section() -> str:
    """The checks of the reconciliation."""
    rows = [(f"`{check.name}`", check.what) for check in (*CHECKS, KEY_ORPHAN)]
    return table(("check", "what is wrong, and what is done"), rows)


SECTIONS: dict[str, Callable[[], str]] = {
    "requests": requests_section,
    "events": events_section,
    "errors": errors_section,
    "limits": limits_section,
    "routes": routes_section,
    "metrics": metrics_section,
    "reconcile": reconcile_section,
}


def _structs(kinds: Sequence[type[msgspec.Struct]], *, with_default: bool) -> str:
    _, schemas = msgspec.json.schema_components(kinds, ref_template="{name}")
    parts: list[str] = []
    named = [kind.__name__ for kind in kinds]
    for name in (*named, *sorted(schemas.keys() - set(named))):  # and what their fields hold
        schema = schemas[name]
        rows = [
            (f"`{field}`", _named_type(field, kind), *([_default(field, kind, schema)] if with_default else []))
            for field, kind in schema["properties"].items()
        ]
        head = ("field", "type", "default") if with_default else ("field", "type")
        parts.append(f"#### {name}\n\n{_sentence(schema.get('description', ''))}\n\n{table(head, rows)}\n")
    return "\n".join(parts)


def _named_type(name: str, field: Json) -> str:
    shown = _type(field)
    return shown.replace("text", "time, RFC 3339") if name.endswith("At") or name == "timestamp" else shown


def _type(field: Json) -> str:
    if "anyOf" in field:
        return " or ".join(_type(one) for one in field["anyOf"])
    if "enum" in field:
        return " / ".join(f"`{value}`" for value in field["enum"])
    if "$ref" in field:
        return f"[{field['$ref']}](#{field['$ref'].lower()})"
    kind = field.get("type")
    if kind == "array":
        most = f", at most {field['maxItems']}" if "maxItems" in field else ""
        return f"list of {_type(field['items'])}{most}"
    if kind == "string":
        name = "UUID" if field.get("format") == "uuid" else "text"
        name = "base64" if field.get("contentEncoding") == "base64" else name
        return name + (f", at most {field['maxLength']} characters" if "maxLength" in field else "")
    if kind == "integer":
        return "integer" + _bounds(field.get("minimum"), field.get("maximum"))
    return {"null": "null", "boolean": "boolean", "number": "number"}.get(str(kind), "object")


def _bounds(least: int | None, most: int | None) -> str:
    if least is None or most is None:
        return ""
    names = {2**53 - 1: "2^53 − 1", 2**63 - 1: "2^63 − 1"}
    return f", {least} … {names.get(most, f'{most:,}')}"


def _default(name: str, field: Json, schema: Json) -> str:
    if name in schema.get("required", ()):
        return "required"
    default = field.get("default")
    if default == str(requests.UNNAMED):
        return "the topic's conversation; required on the inbox and over REST"
    return "" if default is None or default in ("", {}) else f"`{msgspec.json.encode(default).decode()}`"


def _statuses(responses: Json) -> str:
    return ", ".join(sorted({str(status) for status in responses if str(status).startswith("2")}))


def _sentence(docstring: str) -> str:
    """The first paragraph, without its references to other documents."""
    text = re.sub(r"\s+", " ", docstring.split("\n\n", maxsplit=1)[0])
    return re.sub(r" \((?:PROTOCOL\.md|specification)[^)]*\)", "", text).strip()


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:g} s"


def _subclasses(kind: type[errors.WhisprError]) -> list[type[errors.WhisprError]]:
    here = [one for one in kind.__subclasses__() if one.__module__ == errors.__name__]
    return [*here, *(further for one in here for further in _subclasses(one))]
