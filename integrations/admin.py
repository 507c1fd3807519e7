"""The admin's view of the circuits: how each process has them, and the switch that staff hold them with."""

import time
from functools import lru_cache
from typing import Any

from django.contrib import admin
from django.db.models.functions import Now
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin

from integrations.circuits import CircuitReport, list_reports
from integrations.models import CircuitSwitch


@admin.register(CircuitSwitch)
class CircuitSwitchAdmin(ModelAdmin):  # type: ignore[misc]  # unfold is not typed
    """Each circuit once; every process follows the switch within seconds."""

    list_display = ("name", "mode", "states", "by", "at", "reason")
    fields = ("name", "mode", "reason", "states", "by", "at")
    readonly_fields = ("name", "states", "by", "at")
    ordering = ("name",)
    actions = None

    @admin.display(description="in the processes")
    def states(self, switch: CircuitSwitch) -> SafeString | str:
        """The state in each process that reported within ten seconds."""
        reports = _reports(int(time.monotonic()))
        if reports is None:
            return "Redis does not answer, so the processes' states are not known"
        own = [one for one in reports if one.name == switch.name]
        return format_html_join("\n", "<div>{}</div>", ((_shown(one),) for one in own)) or "no process reported"

    def save_model(self, request: HttpRequest, obj: CircuitSwitch, form: Any, change: bool) -> None:
        """Note who switched, and when by the database's clock."""
        obj.by = request.user.get_username()
        obj.at = Now()
        super().save_model(request, obj, form, change)
        obj.refresh_from_db()

    def has_add_permission(self, request: HttpRequest) -> bool:
        """There is a row for each circuit."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: CircuitSwitch | None = None) -> bool:
        """There is a row for each circuit."""
        return False


@lru_cache(maxsize=1)
def _reports(second: int) -> list[CircuitReport] | None:
    """The reports, read once for the rows of a page."""
    return list_reports()


def _shown(report: CircuitReport) -> str:
    words = [f"{report.process}: {report.state.replace('_', ' ')}"]
    if report.held:
        words.append("held")
    if report.state != "closed":
        words.append(f"callers are told {report.retry_after:g} s")
    return ", ".join(words)
