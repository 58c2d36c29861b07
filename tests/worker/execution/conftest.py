"""Logs as in a host: without that, structlog draws every traceback of a skill with the values of all its variables."""

import io

import pytest

from seedcore.settings import load_settings
from seedcore.telemetry.logs import configure_logs


@pytest.fixture(autouse=True)
def _logs_of_a_host(_clean_environment: None) -> None:
    configure_logs(load_settings(), stream=io.StringIO())
