"""What a JSON text may hold."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedcore.utils.pg_json import MAX_DEPTH, MAX_SHOWN_DEPTH, depth, unfit, unreadable, with_doubles

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=20,
)


def true_depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(true_depth, inner), default=0)


def has_nul(value: Any) -> bool:
    if isinstance(value, dict):
        return any(has_nul(key) or has_nul(item) for key, item in value.items())
    return any(map(has_nul, value)) if isinstance(value, list) else isinstance(value, str) and "\0" in value


@given(JSON)
def test_the_depth_is_that_of_the_value(value: Any):
    assert depth(json.dumps(value)) == true_depth(value)
    assert depth(json.dumps(value, ensure_ascii=False)) == true_depth(value)


@given(st.lists(st.text(st.sampled_from('\0\\u0"[]{}')), max_size=5))
def test_u0000_is_found_and_text_about_it_is_not(value: list[str]):
    assert (unfit(json.dumps(value)) is not None) == has_nul(value)


@pytest.mark.parametrize("extra", [0, 1])
def test_the_limit_of_depth_is_exact(extra: int):
    levels = MAX_DEPTH + extra
    assert (unfit("[" * levels + "]" * levels) is not None) == bool(extra)


def test_breadth_is_no_depth():
    assert unfit(json.dumps([{"a": [1]}] * 10_000)) is None
    assert unfit(json.dumps("[" * 1000)) is None


@pytest.mark.parametrize("number", [-(2**63), 2**64 - 1, 10**18, 0.1234567890123456789, 1e300, 1.2345678901234567e19])
def test_numbers_that_readers_keep_are_let_in(number: float):
    assert unfit(json.dumps({"a": [number]})) is None


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 2**70, 10**4000])
def test_an_integer_of_more_than_64_bits_is_named(number: int):
    assert "64 bits" in (unfit(json.dumps({"a": [number]})) or "")


def test_digits_in_text_are_no_number():
    assert unfit(json.dumps({"a": "9" * 5000, "1" * 30: '"' + "9" * 30})) is None


LARGEST_DOUBLE = str(int(1.7976931348623157e308))


@pytest.mark.parametrize(
    "text", ["[" * MAX_SHOWN_DEPTH + "]" * MAX_SHOWN_DEPTH, LARGEST_DOUBLE, f"[-{LARGEST_DOUBLE}.5]"]
)
def test_what_readers_of_json_can_read_is_shown(text: str):
    assert unreadable(text) is None
    json.loads(text)


@pytest.mark.parametrize(
    "text",
    ["[" * (MAX_SHOWN_DEPTH + 1) + "]" * (MAX_SHOWN_DEPTH + 1), "2" + LARGEST_DOUBLE[1:], f'{{"a": -1{"0" * 4300}}}'],
)
def test_what_they_cannot_read_is_not(text: str):
    assert unreadable(text) is not None


def test_long_fractions_and_digits_in_text_are_readable():
    assert unreadable(f'{{"a": 0.{"7" * 400}, "b{"8" * 400}": "\\"{"9" * 400}"}}') is None


@pytest.mark.parametrize("number", [1e21, -1e21, 1.5e300, float(2**70)])
def test_a_double_that_postgresql_wrote_out_is_a_double_again(number: float):
    text = json.dumps({"a": [int(number), "1" * 30], "b": 2**63})
    read = json.loads(with_doubles(text))
    assert read == {"a": [number, "1" * 30], "b": 2**63}
    assert isinstance(read["a"][0], float)


@pytest.mark.parametrize("text", ["1" + "0" * 400, "0." + "7" * 400, f'"{"9" * 400}"', str(2**64 - 1), "1" * 25 + ".5"])
def test_what_is_no_long_integer_or_no_double_stays_as_it_is(text: str):
    assert with_doubles(f"[{text}]") == f"[{text}]"
