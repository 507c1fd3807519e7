"""The admin and the API's page in a real browser, under their policies: they work, and nothing is refused to them."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django_celery_beat.models import PeriodicTask

from tests.e2e.browser import CHROMIUM, FLAGS, STEP_MS, sync_api
from tests.e2e.server import Server

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def page(start: Callable[..., Server]) -> Iterator[Any]:
    """A page whose `refused` collects what its policy did not let it do; other hosts are not reached."""
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM}: apt-get install chromium")
    User.objects.create_superuser("root", password="right")
    task = PeriodicTask.objects.first()
    server = start()
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        page = browser.new_page()
        page.set_default_timeout(STEP_MS)
        page.refused = []
        page.asked = set()
        page.on("console", lambda told: page.refused.append(told.text) if "Content Security" in told.text else None)
        page.on("pageerror", lambda error: page.refused.append(str(error)))
        page.on("request", lambda request: page.asked.add(request.url.split("/")[2]))
        page.at = server.url
        page.task = task.pk if task else None
        yield page
        browser.close()


def test_the_admin_works_without_inline_scripts(page: Any) -> None:
    page.goto(f"{page.at}/admin/")
    page.fill("#id_username", "root")
    page.fill("#id_password", "right")
    page.click("[type=submit]")
    page.wait_for_url("**/admin/")
    paths = ["messaging/message/", "delivery/deadletter/", "delivery/deliverystatus/?status=pending", "auth/user/add/"]
    for path in [*paths, f"django_celery_beat/periodictask/{page.task}/change/" if page.task else ""]:
        page.goto(f"{page.at}/admin/{path}")
        page.wait_for_load_state("load")
        assert page.evaluate("typeof Alpine") == "object"  # unfold's menus
    assert page.refused == []
    assert {host for host in page.asked if host} == {page.at.split("/")[2]}


def test_the_page_of_the_api_works_alone(page: Any) -> None:
    page.goto(f"{page.at}/api/v1/docs")
    page.wait_for_selector(".opblock")
    assert page.locator(".opblock").count() > 20
    assert page.refused == []
    assert {host for host in page.asked if host} <= {page.at.split("/")[2]}
