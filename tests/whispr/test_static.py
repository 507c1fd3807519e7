"""What browsers are told about keeping the built web client."""

import pytest
from django.conf import settings
from django.test import Client

pytestmark = pytest.mark.django_db  # the end of a request closes database connections

WEB_CLIENT = settings.BASE_DIR / "sdk" / "apps" / "web" / "dist"
ASSETS = [path.name for path in sorted((WEB_CLIENT / "assets").iterdir())]


def test_there_are_assets():
    assert any(name.endswith(".js") for name in ASSETS)
    assert any(name.endswith(".css") for name in ASSETS)


@pytest.mark.parametrize("name", ASSETS)
def test_assets_are_kept_for_ever(name):
    answer = Client().get(f"/static/web/assets/{name}")
    assert answer.status_code == 200
    assert "immutable" in answer["Cache-Control"]
    answer.close()


@pytest.mark.parametrize("path", ["web/favicon.svg", "web/index.html", "admin/css/base.css"])
def test_what_has_no_hash_in_its_name_is_not(path):
    answer = Client().get(f"/static/{path}")
    assert answer.status_code == 200
    assert "immutable" not in answer["Cache-Control"]
    answer.close()
