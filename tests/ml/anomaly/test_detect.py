"""Anomalies of a series: what is found, what is not, and what does not matter."""

import math

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedcore.errors import InvalidInputError
from seedcore.ml.anomaly import MAX_LENGTH, MIN_LENGTH, detect
from seedcore.ml.service import MLService
from seedcore.service_clients.ml_client import MLClient
from tests.service_clients.local_handle import LocalHandle

seeds = st.integers(0, 10_000)


def noise(seed: int, n: int = 200) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(n)


def found(x) -> list[int]:
    return [a.index for a in detect(x).anomalies]


def season(n: int, period: int = 24) -> np.ndarray:
    return 6 * np.sin(2 * np.pi * np.arange(n) / period)


@given(seeds, st.integers(0, 199), st.sampled_from([-1.0, 1.0]))
@settings(max_examples=15)
def test_a_planted_spike_is_found_and_told(seed, place, sign):
    x = noise(seed)
    x[place] = sign * 50.0
    named = {a.index: a for a in detect(x).anomalies}
    assert place in named
    one = named[place]
    assert (one.value, one.direction) == (x[place], "above" if sign > 0 else "below")
    assert abs(one.expected) < 5
    assert one.score > 8
    assert one.chance is not None
    assert one.chance < 0.025


@given(seeds, st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
@settings(max_examples=15)
def test_shift_and_scale_change_units_alone(seed, shift, scale):
    x = noise(seed, 120)
    x[[20, 77]] += [50.0, -50.0]
    one, other = detect(x), detect(scale * x + shift)
    assert [a.index for a in one.anomalies] == [a.index for a in other.anomalies]
    assert [a.score for a in other.anomalies] == pytest.approx([a.score for a in one.anomalies], rel=1e-3)
    assert other.scale == pytest.approx(scale * one.scale, rel=1e-3)


@given(seeds)
@settings(max_examples=10)
def test_upside_down_and_backwards_are_the_same_points(seed):
    x = noise(seed, 120)
    x[[20, 77]] += [50.0, -50.0]
    forth = detect(x)
    flipped, back = detect(-x), detect(x[::-1])
    assert [(a.index, a.score) for a in flipped.anomalies] == [(a.index, a.score) for a in forth.anomalies]
    assert {a.direction for a in flipped.anomalies if a.index == 20} == {"below"}
    if forth.season is None and back.season is None:
        assert sorted(119 - a.index for a in back.anomalies) == [a.index for a in forth.anomalies]


@pytest.mark.parametrize("law", ["normal", "exponential", "ar"])
def test_clean_series_alarm_at_most_as_often_as_said(law):
    series, alarms = 100, 0
    for seed in range(series):
        rng = np.random.default_rng(seed)
        x = rng.exponential(size=100) if law == "exponential" else rng.standard_normal(100)
        if law == "ar":
            for i in range(1, 100):
                x[i] += 0.5 * x[i - 1]
        alarms += bool(detect(x, 0.05).anomalies)
    # Five are allowed on average; more than eleven of a hundred have a chance of one in a hundred then.
    assert alarms <= 11


def test_anomalies_do_not_hide_each_other():
    x = noise(1, 300)
    places = list(range(5, 300, 15))
    x[places] += 20.0
    assert set(places) <= set(found(x))


@pytest.mark.parametrize("shape", ["trend", "step", "season", "season and trend"])
def test_what_can_be_expected_is_no_anomaly_and_a_spike_on_it_is(shape):
    t = np.arange(400.0)
    expected = {
        "trend": 0.2 * t,
        "step": np.where(t < 250, 0.0, 25.0),
        "season": season(400),
        "season and trend": season(400) + 0.1 * t,
    }[shape]
    x = noise(5, 400) + expected
    assert found(x) == []
    x[111] += 12.0
    assert found(x) == [111]


@given(st.integers(4, 40), seeds)
@settings(max_examples=10)
def test_a_season_is_found_by_itself(period, seed):
    rng = np.random.default_rng(seed)
    x = np.tile(6 * rng.permutation(period), 10) / period + 0.05 * rng.standard_normal(10 * period)
    assert detect(x).season in (period, 2 * period)


def test_noise_has_no_season():
    assert sum(detect(noise(seed, 300)).season is not None for seed in range(20)) <= 1


@pytest.mark.parametrize("value", [0.0, 7.25, -1e9])
def test_a_constant_series_has_none(value):
    said = detect([value] * 50)
    assert (said.anomalies, said.method, said.above) == ((), "constant", None)


def test_a_rare_departure_from_a_constant_is_one_and_common_ones_are_not():
    x = np.ones(400)
    x[[17, 200]] = [0.0, 4.0]
    said = detect(x)
    assert [(a.index, a.direction) for a in said.anomalies] == [(17, "below"), (200, "above")]
    assert said.method == "departures"
    x = np.zeros(400)
    x[::9] = 1.0
    assert found(np.random.default_rng(0).permutation(x)) == []


def test_too_few_departures_to_tell_are_said():
    x = np.zeros(60)
    x[[5, 25, 45]] = [1.0, 2.0, 1.5]
    said = detect(x)
    assert said.anomalies == ()
    assert any("too few" in note for note in said.notes)


@pytest.mark.parametrize("n", [8, 12, 23])
def test_of_a_few_points_one_in_twenty_clean_series_has_an_anomaly(n):
    clean = [detect(noise(seed, n)) for seed in range(400)]
    assert {said.method for said in clean} == {"few"}
    assert 0.02 < np.mean([bool(said.anomalies) for said in clean]) < 0.09


def test_of_a_few_points_the_outlier_is_found_with_its_chance():
    said = detect([1, 2, 1, 2, 1, 50, 1, 2])
    (one,) = said.anomalies
    assert (one.index, one.value, one.expected, one.direction) == (5, 50.0, 1.5, "above")
    assert one.score > said.above
    assert one.chance < 0.025
    assert any("one level" in note for note in said.notes)
    (one,) = detect([5.0] * 7 + [9.0] + [5.0] * 4).anomalies
    assert one.index == 7


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([1.0] * (MIN_LENGTH - 1), "from 8 to"),
        ([1.0] * (MAX_LENGTH + 1), "from 8 to"),
        ([1.0] * 30 + [math.nan], r"data\[30\] is not finite"),
        ([math.inf] + [1.0] * 30, r"data\[0\] is not finite"),
        ([1e300] * 30, "within"),
        ([[1.0, 2.0]] * 30, "one list"),
        (["a"] * 30, "must be numbers"),
    ],
)
def test_what_cannot_be_judged_is_refused(data, message):
    with pytest.raises(InvalidInputError, match=message):
        detect(data)


@given(st.lists(st.floats(-1e99, 1e99), min_size=MIN_LENGTH, max_size=60))
@settings(max_examples=30)
def test_whatever_the_numbers_the_answer_is_finite(data):
    said = detect(data)
    assert all(math.isfinite(v) for a in said.anomalies for v in (a.value, a.expected, a.score))
    assert math.isfinite(said.scale)


async def test_over_http_the_answer_names_its_method_and_limits(http: httpx.AsyncClient):
    x = noise(3, 100)
    x[40] = 30.0
    answer = await http.post("/detect/anomaly", json={"data": x.tolist()})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    (one,) = body["anomalies"]
    assert (one["index"], one["value"]) == (40, 30.0)
    assert one["score"] > body["threshold"]["above"]
    assert (body["method"], body["unit"], body["points"]) == ("tail", "robust standard deviations", 100)
    assert body["notes"]


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ('{"data": [1, 2]}', "data"),
        ('{"data": [%s NaN]}' % ("1," * 30), "data.30"),
        ('{"data": [%s Infinity]}' % ("1," * 30), "data.30"),
        ('{"data": [%s null]}' % ("1," * 30), "data.30"),
        ('{"data": [%s "2"]}' % ("1," * 30), "data.30"),
        ('{"data": [%s true]}' % ("1," * 30), "data.30"),
        ('{"data": [%s 1], "false_alarm": 0.9}' % ("1," * 30), "false_alarm"),
        ("{}", "data"),
    ],
)
async def test_bad_input_names_the_field(http: httpx.AsyncClient, content, field):
    answer = await http.post("/detect/anomaly", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert field in [e["field"] for e in answer.json()["errors"]]


async def test_a_series_that_cannot_be_judged_spoils_no_other(service: MLService):
    client = MLClient(service.settings)
    client._handle = LocalHandle(service)
    good = noise(3, 100)
    good[40] = 30.0
    said = await client.detect_anomalies([good.tolist(), [1.0, 2.0]])
    assert [a.index for a in said.items[0].found.anomalies] == [40]
    assert (said.items[1].found, said.items[1].error["code"]) == (None, "invalid_input")
    with pytest.raises(InvalidInputError, match="at most 200000"):
        await client.detect_anomalies([[0.0] * 20_000] * 11)
