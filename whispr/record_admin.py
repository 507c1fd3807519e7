"""The base of our admin pages: records to look at.

Nothing is written here, because every write is a service's. Nothing private is shown: content, metadata, keys and push
tokens appear as sizes and fingerprints. No page reads more than a bounded number of rows, however large its table is.
"""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, ClassVar, cast
from uuid import UUID

from django.contrib import messages
from django.contrib.admin import ShowFacets, SimpleListFilter
from django.core.paginator import Paginator
from django.db.models import Func, IntegerField, Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin, TabularInline
from unfold.views import ChangeList

# What a list offers to page through: 200 pages. Beyond, a search by id is the way, and OFFSET would be slow.
LISTED_MAX = 10_000
# What a filter without an index of its own looks at: the newest rows. 10,000 index entries are a few milliseconds.
RECENT_ROWS = 10_000

Column = Callable[[Any], Any]


class OctetLength(Func):
    """The size of a bytea or a text in bytes; PostgreSQL answers it without reading a value that is stored apart."""

    function = "OCTET_LENGTH"
    output_field = IntegerField()


def visible(text: str) -> str:
    """`text` with what does not print as its escape: a right-to-left override cannot turn a page round."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def fingerprint(value: bytes | memoryview | None) -> str:
    """The first 8 bytes of SHA-256 in hex: enough to compare two keys, of no use as a key."""
    return "–" if value is None else hashlib.sha256(bytes(value)).digest()[:8].hex()


def record_link(model: type[Model], pk: object, text: str | None = None) -> SafeString | str:
    """A link to the page of one record; a dash where there is none."""
    if pk is None:
        return "–"
    url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_change", args=[pk])
    return format_html('<a class="text-primary-600 dark:text-primary-500" href="{}">{}</a>', url, text or pk)


def search_link(model: type[Model], wanted: UUID | None, text: str | None = None) -> SafeString | str:
    """A link to the list of a model, searched for an id; a dash where there is none."""
    if wanted is None or wanted.int == 0:
        return "–"
    url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    link = '<a class="text-primary-600 dark:text-primary-500" href="{}?q={}">{}</a>'
    return format_html(link, url, wanted, text or wanted)


def column(name: str, show: Column) -> Column:
    """A column of a list, and a field of a page, that shows `show(record)` under `name`."""

    def shown(record: Model) -> Any:
        return show(record)

    shown.__name__ = name.replace(" ", "_")
    shown.short_description = name  # type: ignore[attr-defined]  # Django's way
    return shown


def moment(field: str, name: str | None = None) -> Column:
    """A time in UTC to the millisecond: the order of entries is seen in it, unlike in Django's own format."""

    def show(record: Model) -> str:
        value: datetime | None = getattr(record, field)
        return "–" if value is None else value.astimezone(UTC).isoformat(" ", "milliseconds").removesuffix("+00:00")

    return column(name or field.replace("_", " "), show)


class BoundedPaginator(Paginator):  # type: ignore[type-arg]  # generic in the stubs only
    """Counts to LISTED_MAX and no further: COUNT(*) over a table of a hundred million rows takes minutes."""

    @cached_property
    def count(self) -> int:
        """How many rows the list offers."""
        rows = cast("QuerySet[Any]", self.object_list)  # the admin gives nothing else
        return rows.order_by().values("pk")[:LISTED_MAX].count()


class FixedOrder(ChangeList):  # type: ignore[misc]  # not typed
    """A list in the one order that an index gives; `?o=` is ignored."""

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[str]:
        """The order that the page declares."""
        return list(self.model_admin.ordering)


class RecentFilter(SimpleListFilter):
    """A filter that no index serves, over the newest RECENT_ROWS rows: it never searches a whole table."""

    newest: ClassVar[str] = "pk"  # an indexed column that grows with time
    choices_by_value: ClassVar[dict[str, tuple[str, Q]]] = {}

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """What can be chosen."""
        return [(value, text) for value, (text, _) in self.choices_by_value.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The matches among the newest rows."""
        chosen = self.choices_by_value.get(self.value() or "")
        if chosen is None:
            return queryset
        places = queryset.model._default_manager.order_by(f"-{self.newest}").values_list(self.newest, flat=True)
        last = list(places[RECENT_ROWS - 1 : RECENT_ROWS])
        recent = queryset.filter(**{f"{self.newest}__gte": last[0]}) if last else queryset
        return recent.filter(chosen[1])


class ReadOnly:
    """Nothing can be added, changed or deleted, whatever rights a member of staff has."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """No."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """No."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """No."""
        return False


class RecordAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]  # unfold is not typed
    """The pages of one table.

    `search_by` names the columns that an id is looked for in, each the first column of an index, and the order of what
    is found by it. `private` are columns that are not even read; `clients_text` are texts that clients wrote.
    """

    actions = None
    list_per_page = 50
    list_max_show_all = 0
    list_fullwidth = True
    show_full_result_count = False
    show_facets = ShowFacets.NEVER
    sortable_by = ()
    paginator = BoundedPaginator
    list_before_template = "whispr/list_note.html"
    search_fields: tuple[str, ...] = ("pk",)  # shows the box; get_search_results() does not use it
    search_by: ClassVar[dict[str, tuple[str, ...]]] = {}
    private: ClassVar[tuple[str, ...]] = ()
    clients_text: ClassVar[tuple[str, ...]] = ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """All rows, without the columns that nobody is to see."""
        return cast("QuerySet[Any]", super().get_queryset(request)).defer(*self.private)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """The record of a page; Django shows its name in titles too, so what clients wrote is made visible here."""
        record = super().get_object(request, object_id, from_field)
        if record is not None:
            for field in self.clients_text:
                setattr(record, field, visible(getattr(record, field)))
        return record

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """The rows whose id, or whose owner's id, is exactly the term: one index after the other, never a LIKE."""
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            wanted = UUID(term)
        except ValueError:
            messages.warning(request, "The search takes one whole id (a UUID).")
            return queryset.none(), False
        for field, order in self.search_by.items():
            found = queryset.filter(**{field: wanted})
            if found.exists():
                return found.order_by(*order), False
        return queryset.none(), False

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Only the page's own filters: `?content__startswith=` would tell, bit by bit, what the page does not show."""
        return lookup in {one.parameter_name for one in self.list_filter}

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[FixedOrder]:
        """The list in its fixed order."""
        return FixedOrder

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The list, with a note where it ends before the table does."""
        note = {"listed_max": LISTED_MAX, "recent_rows": RECENT_ROWS}
        response: HttpResponse = super().changelist_view(request, note | (extra_context or {}))
        return response


class RecordInline(ReadOnly, TabularInline):  # type: ignore[misc]  # unfold is not typed
    """The rows that belong to a record, on its page."""

    extra = 0
    can_delete = False
    show_change_link = False
    hide_title = True
    per_page = 50
