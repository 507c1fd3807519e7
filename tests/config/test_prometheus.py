"""The alert rules ask for metrics and labels that there are, and point to sections that there are."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

from delivery.store.reconcile_checks import CHECKS
from whispr.kernel import telemetry

ROOT = Path(__file__).resolve().parent.parent.parent
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((ROOT / "config/prometheus/alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
METRICS = {
    f"{metric._name}{'_total' if metric._type == 'counter' else ''}": set(metric._labelnames)
    for metric in vars(telemetry).values()
    if isinstance(metric, MetricWrapperBase)
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_is_about_something(rule: dict[str, Any]) -> None:
    expression = rule["expr"]
    names = set(re.findall(r"whispr_\w+", expression))
    assert names
    assert names <= set(METRICS), names - set(METRICS)
    labels = set().union(*(METRICS[name] for name in names))
    asked = re.findall(r"by \((\w+)\)", expression) + re.findall(r"[{,](\w+)[!=]", expression)
    told = re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"])
    assert set(asked) | set(told) <= labels
    for check in re.findall(r'check="(\w+)"', expression):
        assert check in {one.name for one in CHECKS}
    assert rule["labels"]["severity"] in ("page", "ticket")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_names_the_page_that_says_what_to_do(rule: dict[str, Any]) -> None:
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    headings = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(), re.MULTILINE)
    assert anchor in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_what_is_asked_of_a_process_has_its_port() -> None:
    compose = yaml.safe_load((ROOT / "config/compose.yaml").read_text())
    scrape = yaml.safe_load((ROOT / "config/prometheus/prometheus.yml").read_text())["scrape_configs"][0]
    (targets,) = scrape["dns_sd_configs"]
    assert set(targets["names"]) <= set(compose["services"])
    for name in targets["names"]:
        service = compose["services"][name]
        assert service["environment"]["WHISPR_METRICS_PORT"] == targets["port"]
        assert service["environment"]["WHISPR_METRICS_HOST"] == "0.0.0.0"
        assert "media:/srv/media" in service["volumes"]
        assert service["environment"]["WHISPR_MEDIA_DIR"] == "/srv/media"
