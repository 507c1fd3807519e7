"""Settings of the API's tests; `transactional_db`, because services work in threads of their own."""

import pytest


@pytest.fixture(autouse=True)
def _open_settings(settings, transactional_db):
    settings.WHISPR_JWT_ALGORITHMS = ["HS256"]
    settings.WHISPR_JWT_SECRET = "a secret for tests, of more than 32 bytes"
    settings.WHISPR_SIGNATURES = "optional"
    settings.WHISPR_DEV_LOGIN = True
