"""Several columns at once: calibrated, blind to units, and able to see what no column shows alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedcore.errors import InvalidInputError
from seedcore.ml.anomaly import detect, detect_columns


def columns(seed: int, n: int = 200, count: int = 3, rho: float = 0.8) -> dict[str, np.ndarray]:
    mix = np.linalg.cholesky(np.full((count, count), rho) + np.eye(count) * (1 - rho))
    x = np.random.default_rng(seed).standard_normal((n, count)) @ mix.T
    return {f"c{k}": x[:, k] for k in range(count)}


def test_clean_columns_raise_few_alarms():
    alarms = sum(bool(detect_columns(columns(seed), 0.05).anomalies) for seed in range(40))
    assert alarms <= 7  # over 7 of 40 has a chance of 0.1 % at 5 %


def test_a_point_against_the_correlation_is_found_that_no_column_shows():
    found = 0
    for seed in range(10):
        x = columns(seed, rho=0.95)
        x["c0"][100], x["c1"][100] = 2.5, -2.5
        alone = {a.index for values in x.values() for a in detect(values).anomalies}
        assert 100 not in alone
        together = {a.index: a for a in detect_columns(x).anomalies}
        if 100 in together:
            found += 1
            shares = together[100].shares
            assert sum(shares.values()) == pytest.approx(1)
            assert min(shares["c0"], shares["c1"]) > shares["c2"]
    assert found >= 9


def test_a_season_and_a_step_are_expected():
    t = np.arange(300)
    x = columns(3, n=300)
    x["c0"] += 8 * np.sin(2 * np.pi * t / 24)
    x["c1"] += np.where(t < 180, 0, 15)
    found = detect_columns(x)
    assert (found.anomalies, found.seasons.get("c0")) == ((), 24)


@settings(max_examples=20)
@given(st.integers(0, 50), st.floats(1e-3, 1e3), st.floats(-1e4, 1e4))
def test_units_do_not_matter(seed: int, scale: float, shift: float):
    x = columns(seed, n=60)
    x["c2"][30] += 9
    moved = x | {"c1": x["c1"] * scale + shift}
    one, other = detect_columns(x), detect_columns(moved)
    assert [a.index for a in one.anomalies] == [a.index for a in other.anomalies]
    assert [a.score for a in one.anomalies] == pytest.approx([a.score for a in other.anomalies], rel=1e-6)


def test_short_columns_are_judged_and_a_constant_one_has_no_part():
    x = columns(1, n=20, count=2)
    x["c0"][7] = 40.0
    found = detect_columns(x | {"flat": np.ones(20)})
    assert [a.index for a in found.anomalies] == [7]
    assert found.method == "few"
    assert found.notes[0].startswith("column flat is constant")
    assert detect_columns({"a": np.ones(20), "b": np.zeros(20)}).method == "constant"


@pytest.mark.parametrize(
    ("given_columns", "field"),
    [
        ({"a": [1.0] * 20, "b": [1.0] * 19}, "columns.b"),
        ({"a": [1.0] * 7, "b": [1.0] * 7}, "columns.a"),
        ({"a": [1.0] * 20, "b": [float("nan")] + [1.0] * 19}, "columns.b"),
        ({"a": [1.0] * 20, "b": [1e101] * 20}, "columns.b"),
        ({f"c{k}": [1.0] * 8 for k in range(3)}, "columns"),
    ],
)
def test_a_wrong_column_is_named(given_columns: dict[str, list[float]], field: str):
    with pytest.raises(InvalidInputError) as raised:
        detect_columns(given_columns)
    assert [error.field for error in raised.value.errors] == [field]
