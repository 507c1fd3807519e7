"""What a workload found: a small table on standard output, and JSON."""

import math
import os
from dataclasses import dataclass, field
from typing import Any

import msgspec

from bench.latency import Spread
from bench.usage import Usage

Row = tuple[str, str]


@dataclass
class Result:
    """The figures of one workload, in the order in which they are printed, and its faults."""

    workload: str
    title: str
    figures: dict[str, Any] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    load_before: float = field(default_factory=lambda: os.getloadavg()[0])

    def add(self, name: str, label: str, value: float | int | str | None, unit: str = "") -> None:
        """A figure: `name` in the JSON, `label` in the table. None: it could not be measured here."""
        self.figures[name] = None if isinstance(value, float) and math.isnan(value) else value
        self.rows.append((label, f"{shown(value)}{' ' + unit if unit and value is not None else ''}"))

    def add_spread(self, name: str, label: str, spread: Spread) -> None:
        """The percentiles of a latency, in ms."""
        found = {"count": spread.number, "p50": spread.p50, "p95": spread.p95, "p99": spread.p99, "max": spread.highest}
        self.figures[name] = {key: None if math.isnan(value) else round(value, 3) for key, value in found.items()}
        p50, p95, p99, highest = (shown(value) for value in spread[1:])
        self.rows.append((label, f"p50 {p50}   p95 {p95}   p99 {p99}   max {highest} ms   (n={spread.number})"))

    def add_usage(self, used: Usage, units: int, unit: str) -> None:
        """CPU time of each part: a share of the time measured, and per 1,000 `units`."""
        for name, label, seconds in (
            ("server", "CPU server", used.server),
            ("postgres", "CPU PostgreSQL", used.postgres),
            ("generator", "CPU generator", used.generator),
        ):
            if seconds is None:
                self.add(f"cpu_{name}_s_per_1000", label, None)
                continue
            each = seconds / units * 1000 if units else math.nan
            share = 100 * seconds / used.wall if used.wall else math.nan
            self.figures[f"cpu_{name}_s_per_1000"] = round(each, 4) if units else None
            self.figures[f"cpu_{name}_share"] = round(share / 100, 3)
            self.rows.append((label, f"{shown(each)} s per 1,000 {unit}, {shown(share)} % of a core"))

    def as_json(self) -> dict[str, Any]:
        """The machine-readable form."""
        return {
            "workload": self.workload,
            "title": self.title,
            **self.figures,
            "load_before": self.load_before,
            "load_after": os.getloadavg()[0],
            "check": "failed" if self.faults else "ok",
            "faults": self.faults,
        }

    def print(self) -> None:
        """The table, and `check: ok` or the faults."""
        width = max((len(label) for label, _ in self.rows), default=0)
        print(f"\n{self.workload}: {self.title}  [load {self.load_before:.2f} → {os.getloadavg()[0]:.2f}]")
        for label, text in self.rows:
            print(f"  {label:<{width}}  {text}")
        for fault in self.faults:
            print(f"  FAULT: {fault}")
        print(f"  check: {'FAILED' if self.faults else 'ok'}", flush=True)


def shown(value: float | int | str | None) -> str:
    """A figure for people: three significant digits, thousands separated; a dash where there is none."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, str):
        return value
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 10 else f"{value:.1f}"


def write_json(path: str, about: dict[str, Any], results: list[Result]) -> None:
    """Write the results of a run."""
    body = {"about": about, "results": [result.as_json() for result in results]}
    with open(path, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(body), indent=1) + b"\n")
