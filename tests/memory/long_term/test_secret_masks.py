import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedcore.memory.long_term.secret_masks import HIDDEN, json_without_secrets, without_secrets


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("postgres://bob:hunter2@db/x", "hunter2"),
        ("password=hunter2", "hunter2"),
        ('{"password": "hunter2", "a": 1}', "hunter2"),
        ("the password is hunter2.", "hunter2"),
        ("Authorization: Bearer abc.def-ghi", "abc.def-ghi"),
        ("use sk-proj-abcdefghijklmnop now", "sk-proj-abcdefghijklmnop"),
        ("AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE"),
        ("ghp_abcdefghijklmnopqrstuvwxyz0123456789", "ghp_abcdefghijklmnopqrstuvwxyz0123456789"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "eyJzdWIiOiIxIn0"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY----- end", "MIIE"),
        ("-----BEGIN PRIVATE KEY-----\nMIIE", "MIIE"),
    ],
)
def test_what_looks_like_a_secret_is_hidden(text: str, secret: str) -> None:
    assert secret not in without_secrets(text)
    assert HIDDEN in without_secrets(text)


@pytest.mark.parametrize(
    "text", ["the token of the queue", "a key of the map", "risk-based, task-1", "secretary of state"]
)
def test_plain_text_stays(text: str) -> None:
    assert without_secrets(text) == text


def test_what_a_secrets_name_stands_before_is_hidden() -> None:
    value = {"api_key": {"a": 1}, "list": [{"db_password": "x"}, "token=1 secret=2"], "tokens": 3}
    assert json_without_secrets(value) == {
        "api_key": HIDDEN,
        "list": [{"db_password": HIDDEN}, f"token=1 secret={HIDDEN}"],
        "tokens": 3,
    }


@pytest.mark.parametrize(
    "part", ["password ", "-----BEGIN ", "eyJ", "sk-a", "a://", "password:", "-----BEGIN PRIVATE KEY-----"]
)
def test_text_made_to_be_slow_takes_little_time(part: str) -> None:
    began = time.perf_counter()
    without_secrets(part * (100_000 // len(part)))
    assert time.perf_counter() - began < 2


@given(st.text())
def test_masking_twice_changes_nothing_more(text: str) -> None:
    once = without_secrets(text)
    assert without_secrets(once) == once
