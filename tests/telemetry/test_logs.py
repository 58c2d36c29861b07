"""Logs: one line an event, and no secret in it."""

import io
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import SecretStr

from seedcore.settings import Settings, load_settings
from seedcore.telemetry.logs import configure_logs, get_logger, mask

SECRET = "hunter2"


@pytest.fixture
def logged(settings: Settings) -> Callable[..., str]:
    """Log one event and return its line."""

    def log(event: str = "something", *, settings: Settings = settings, level: str = "info", **fields: Any) -> str:
        stream = io.StringIO()
        configure_logs(settings, stream=stream)
        getattr(get_logger("seedcore.test"), level)(event, **fields)
        return stream.getvalue()

    return log


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (f"postgresql://user:{SECRET}@host:5432/db", "postgresql://user:***@host:5432/db"),
        (f"redis://:{SECRET}@host/0", "redis://:***@host/0"),
        (f"mysql+mysqlconnector://u:{SECRET}@h/db", "mysql+mysqlconnector://u:***@h/db"),
        (f"cannot reach 'bolt+s://u:{SECRET}@h:7687', retry", "cannot reach 'bolt+s://u:***@h:7687', retry"),
        (f"postgres://u:p@{SECRET}@h/db", "postgres://u:***@h/db"),
        (f"postgres://u:a/{SECRET}@h/db", "postgres://u:***@h/db"),
        (f"postgres://h/db?user=u&password={SECRET}&x=1", "postgres://h/db?user=u&password=***&x=1"),
        (f"host=h password={SECRET} dbname=d", "host=h password=*** dbname=d"),
        (f"https://{SECRET}@github.com/x", "https://***@github.com/x"),
        (f"Authorization: Bearer {SECRET}", "Authorization: Bearer ***"),
        ("http://localhost:8000/health", "http://localhost:8000/health"),
        ("http://h:80/a?to=me@example.org", "http://h:80/a?to=me@example.org"),
        ("mail me@example.org at 10:30", "mail me@example.org at 10:30"),
        ("two http://a:1/x and b@c", "two http://a:1/x and b@c"),
    ],
)
def test_secrets_in_text_are_masked_and_the_rest_stays(text: str, masked: str):
    assert mask(text) == masked


def test_two_urls_in_one_text_are_masked_each():
    assert mask(f"redis://:{SECRET}@a then redis://:{SECRET}@b") == "redis://:***@a then redis://:***@b"


@pytest.mark.parametrize("key", ["password", "neo4j_password", "api_key", "apikey", "API_KEYS", "Authorization"])
def test_values_of_secret_keys_are_masked(logged: Callable[..., str], key: str):
    assert json.loads(logged(**{key: SECRET}))[key] == "***"


@pytest.mark.parametrize("key", ["pg_dsn", "client_secret", "access_token", "auth_token", "token_value"])
def test_values_of_keys_that_hold_credentials_are_masked(logged: Callable[..., str], key: str):
    assert json.loads(logged(**{key: SECRET}))[key] == "***"


def test_a_fencing_token_is_no_secret(logged: Callable[..., str]):
    assert json.loads(logged(lease_token=17, token=18))["lease_token"] == 17


@pytest.mark.parametrize(
    "value",
    [
        {"headers": {"authorization": SECRET}},
        [{"url": f"redis://:{SECRET}@h"}],
        (f"redis://:{SECRET}@h",),
        RuntimeError(f"cannot reach redis://:{SECRET}@h"),
        SecretStr(SECRET),
    ],
)
def test_secrets_inside_values_are_masked(logged: Callable[..., str], value: object):
    line = logged(reason=value)
    assert SECRET not in line
    assert "***" in line


def test_logging_changes_nothing_that_it_was_given(logged: Callable[..., str]):
    headers = {"authorization": SECRET}
    logged(headers=headers)
    assert headers == {"authorization": SECRET}


def test_secrets_in_tracebacks_are_masked(logged: Callable[..., str]):
    try:
        raise ConnectionError(f"postgresql://u:{SECRET}@h refused")
    except ConnectionError as error:
        line = logged("boom", level="error", exc_info=error)
    assert SECRET not in line
    assert "ConnectionError" in json.loads(line)["exception"]


def test_secrets_in_the_event_itself_are_masked(logged: Callable[..., str]):
    assert json.loads(logged(f"dial redis://:{SECRET}@h"))["event"] == "dial redis://:***@h"


def test_a_line_is_one_json_object_with_level_time_and_logger(logged: Callable[..., str]):
    line = logged("ready", port=1, text="zwei\nZeilen")
    assert line.count("\n") == 1
    fields = json.loads(line)
    assert (fields["event"], fields["level"], fields["logger"], fields["port"]) == ("ready", "info", "seedcore.test", 1)
    assert fields["timestamp"].endswith("Z")


def test_lines_for_people_are_masked_too(logged: Callable[..., str]):
    line = logged("ready", settings=load_settings(log_format="console"), reason=f"redis://:{SECRET}@h", dsn=SECRET)
    assert SECRET not in line
    assert "redis://:***@h" in line


def test_levels_below_the_setting_are_silent(logged: Callable[..., str]):
    assert logged(level="debug") == ""
    assert logged(level="debug", settings=load_settings(log_level="DEBUG")) != ""
    assert logged(level="warning", settings=load_settings(log_level="ERROR")) == ""


@pytest.mark.parametrize("part", ["a.", "://a.", "a://", "a://b@", "password=", "bearer ", "x@"])
def test_masking_takes_time_in_proportion_to_the_text(part: str):
    began = time.process_time()
    mask(part * 20_000)
    assert time.process_time() - began < 2


def test_a_long_text_is_shown_by_its_ends_and_masked_in_both(logged: Callable[..., str]):
    url = f"redis://:{SECRET}@h "
    line = logged(text=url + "x" * 10**6 + " " + url)
    assert len(line) < 50_000
    assert SECRET not in line
    assert json.loads(line)["text"].count("redis://:***@h") == 2
    assert "characters left out" in line
