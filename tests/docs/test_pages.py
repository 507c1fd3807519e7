"""The documents say what the code says: generated tables are not behind it, names and links lead somewhere."""

import re
from pathlib import Path

import pytest

from messaging import connection
from messaging.conversation_events import ConversationEvents
from messaging.phoenix import session
from whispr import reference
from whispr.kernel.limits import Limits

ROOT = reference.DOCS.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(reference.DOCS.rglob("*.md"))]
# What reads the environment: settings, modules of the running processes, the local run.
SOURCES = ("whispr", "messaging", "delivery", "trust", "integrations", "script")
READS = re.compile(
    r'(?:env\.(?:str|list)\(|\b(?:number|whole_number|switch)\(|(?:environ|environment|caller)(?:\.get\(|\[))\s*"'
    r'(WHISPR_[A-Z_]+|DATABASE_URL|REDIS_URL|PG_BINDIR|REDIS_BIN|FORWARDED_ALLOW_IPS)"'
)
INTERNAL = {"WHISPR_WORKER_READY_FILE"}  # between the supervisor and its worker


@pytest.mark.parametrize("name", reference.PAGES)
def test_the_generated_tables_are_not_behind_the_code(name: str):
    page = (reference.DOCS / name).read_text()
    assert reference.render(page) == page, "run: .venv/bin/python manage.py reference"


def test_every_generated_section_is_on_a_page():
    pages = "".join((reference.DOCS / name).read_text() for name in reference.PAGES)
    assert sorted(re.findall(r"<!-- generated: ([\w-]+) -->", pages)) == sorted(reference.SECTIONS)
    assert sorted(re.findall(r"<!-- end: ([\w-]+) -->", pages)) == sorted(reference.SECTIONS)


def test_a_table_that_is_behind_is_seen():
    page = (reference.DOCS / "protocol.md").read_text()
    behind = page.replace("`clientRandom` | integer", "`clientRandom` | text")
    assert behind != page
    assert reference.render(behind) == page
    with pytest.raises(reference.StalePage):
        reference.render("<!-- generated: nothing -->\n<!-- end: nothing -->")


def test_every_setting_is_in_the_table_of_operations():
    table = (reference.DOCS / "operations.md").read_text().partition("## Settings")[2].partition("## Metrics")[0]
    written = set(re.findall(r"^\| `([A-Z_]+)`", table, re.MULTILINE))
    limits = {f"WHISPR_{name.upper()}" for name in Limits.__dataclass_fields__}
    read = {
        name for source in SOURCES for path in (ROOT / source).rglob("*.py") for name in READS.findall(path.read_text())
    }
    assert written == read - limits - INTERNAL


def test_every_limit_is_in_the_table_of_the_protocol():
    written = re.findall(r"^\| `WHISPR_([A-Z_]+)` \|", reference.limits_section(), re.MULTILINE)
    assert [name.lower() for name in written] == list(Limits.__dataclass_fields__)


def test_every_close_code_is_explained():
    page = (reference.DOCS / "protocol.md").read_text()
    codes = {
        value
        for module in (connection, session)
        for name, value in vars(module).items()
        if name.startswith("CLOSE_") and isinstance(value, int)
    }
    assert len(codes) >= 7
    assert codes <= {int(code) for code in re.findall(r"^\| (\d{4}) \|", page, re.MULTILINE)}


def test_the_events_that_are_taken_are_those_that_are_described():
    section = (reference.DOCS / "protocol.md").read_text().partition("## 4.")[2].partition("## 5.")[0]
    described = set(re.findall(r"^\| `(\w+)` \| .* \| .* \|$", section.partition("####")[0], re.MULTILINE))
    assert described == set(ConversationEvents.handlers)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_paths_lead_somewhere(page: Path):
    text = page.read_text()
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
        assert (page.parent / target).exists(), target
    for name in re.findall(
        r"`((?:whispr|messaging|delivery|trust|integrations|docs|config|script|sdk|tests)/[\w./-]*)`", text
    ):
        assert (ROOT / name).exists() or name in ("whispr/msg/v1", "whispr/log/v1"), name  # prefixes of what is hashed
    for anchor in re.findall(r"\]\(#([^)]+)\)", text):
        anchors = {
            re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-")
            for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        }
        assert anchor in anchors, anchor
