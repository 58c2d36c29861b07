"""A client of the application under test."""

import httpx
import pytest

from tests.web.application import client_of, make_app


@pytest.fixture
def http() -> httpx.AsyncClient:
    return client_of(make_app())
