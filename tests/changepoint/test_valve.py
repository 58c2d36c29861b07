"""The valve as a library: what it promises, with few observations; `benchmarks.valve` measures it in full."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedcore.changepoint.cusum import Cusums
from seedcore.changepoint.rank_scores import Ranks, normal_scores
from seedcore.changepoint.thresholds import threshold
from seedcore.changepoint.whitening import AutoRegression
from seedcore.coordinator.valve import MIN_REFERENCE, ReferenceTooSmallError, Valve
from seedcore.errors import InvalidInputError


def calibrated(reference, **options):
    return Valve.calibrate(reference, rehearsal=False, **options)


def autoregressive(rng, n, rho):
    x = rng.standard_normal(n) * np.sqrt(1 - rho**2)
    for t in range(1, n):
        x[t] += rho * x[t - 1]
    return x


STREAMS = {
    "normal": lambda rng, n: rng.standard_normal(n),
    "heavy_tails": lambda rng, n: rng.standard_t(3, n),
    "skewed": lambda rng, n: rng.exponential(size=n),
    "autocorrelated": lambda rng, n: autoregressive(rng, n, 0.5),
    "lattice": lambda rng, n: rng.poisson(2.0, n).astype(float),
    "many_columns": lambda rng, n: rng.standard_normal((n, 12)) @ np.triu(np.ones((12, 12))),
}


@pytest.mark.parametrize("name", STREAMS)
def test_false_alarms_are_as_few_as_promised(name):
    arl0, references, length, alarms = 1_000, 12, 5_000, 0
    for k in range(references):
        rows = STREAMS[name](np.random.default_rng(k), 800 + length)
        alarms += int(calibrated(rows[:800], arl0=arl0, seed=k).update(rows[800:]).sum())
    # 60 are promised at most. References differ: two standard errors of the sum are about 30.
    assert alarms <= 90


@pytest.mark.parametrize(("shift", "longest"), [(1.0, 30), (2.0, 10), (-1.0, 30)])
def test_a_shift_is_seen_soon(shift, longest):
    delays = []
    for k in range(20):
        rng = np.random.default_rng(k)
        alarms = calibrated(rng.standard_normal(1_000), seed=k).update(rng.standard_normal(300) + shift)
        delays.append(int(alarms.argmax()) + 1 if alarms.any() else 300)
    assert np.mean(delays) <= longest


def test_a_wider_spread_with_the_same_mean_is_seen():
    rng = np.random.default_rng(1)
    assert calibrated(rng.standard_normal(1_000)).update(2.5 * rng.standard_normal(100)).any()


def test_a_shift_in_a_direction_that_no_column_shows_is_seen():
    rng = np.random.default_rng(2)
    d = 16
    valve = calibrated(rng.standard_normal((1_000, d)))
    assert not valve.update(rng.standard_normal((200, d))).any()
    assert valve.update(rng.standard_normal((200, d)) + 2.0 / np.sqrt(d)).any()


def test_a_column_that_never_changed_speaks_when_it_does():
    rng = np.random.default_rng(3)
    rows = np.column_stack([rng.standard_normal(600), np.ones(600)])
    valve = calibrated(rows)
    rows = np.column_stack([rng.standard_normal(30), np.zeros(30)])
    assert valve.update(rows).any()


def test_evidence_reaches_a_half_exactly_at_the_alarm():
    rng = np.random.default_rng(4)
    valve = calibrated(rng.standard_normal(500))
    for x in rng.standard_normal(200) + 1.0:
        before = valve.evidence
        alarm = valve.update([x])[0]
        assert alarm == (valve.evidence >= 0.5)
        assert 0.0 <= before < 1.0


def test_after_an_alarm_the_sums_start_afresh():
    rng = np.random.default_rng(5)
    valve = calibrated(rng.standard_normal(500))
    alarms = np.flatnonzero(valve.update(np.full(60, 2.0)))
    assert len(alarms) > 1
    assert alarms[1] - alarms[0] > 1


def test_a_small_reference_is_refused_with_the_least_size():
    with pytest.raises(ReferenceTooSmallError, match=r"499 .* at least 500"):
        Valve.calibrate(np.zeros(MIN_REFERENCE - 1))


@pytest.mark.parametrize("arl0", [99, 1e7, float("nan")])
def test_a_budget_out_of_range_is_refused(arl0):
    with pytest.raises(InvalidInputError, match="arl0"):
        Valve.calibrate(np.zeros(600), arl0=arl0)


@pytest.mark.parametrize("rows", [np.zeros((3, 2)), [np.nan], [np.inf], np.zeros((2, 2, 2)), [10**400]])
def test_what_is_no_observation_is_refused_and_changes_nothing(rows):
    valve = calibrated(np.random.default_rng(6).standard_normal(500))
    before = valve.to_bytes()
    with pytest.raises(InvalidInputError):
        valve.update(rows)
    assert valve.to_bytes() == before


def test_the_rehearsal_says_what_it_saw():
    seen = Valve.calibrate(np.random.default_rng(7).standard_normal(1_000), arl0=200).calibration.rehearsal
    assert seen is not None
    assert seen.alarms > 50
    assert 100 <= seen.arl0 <= 2_000


def test_thresholds_are_raised_for_what_no_whitening_takes_out():
    # Volatility in clusters: a fifth of the ARL0 asked for without it.
    rng, n = np.random.default_rng(12), 4_000
    x, variance = np.empty(n), 1.0
    for t in range(n):
        x[t] = np.sqrt(variance) * rng.standard_normal()
        variance = 0.02 + 0.3 * x[t] ** 2 + 0.69 * variance
    bare, raised = calibrated(x[:1_000], arl0=2_000), Valve.calibrate(x[:1_000], arl0=2_000)
    assert raised.calibration.rehearsal.raised > 1.0
    assert raised.update(x[1_000:]).sum() < bare.update(x[1_000:]).sum()
    plain = Valve.calibrate(rng.standard_normal(1_000), arl0=2_000)
    assert plain.calibration.rehearsal.raised == 1.0
    assert Valve.from_bytes(raised.to_bytes()).calibration == raised.calibration


def test_bytes_that_are_not_a_valve_state_are_refused():
    for data in (b"", b"PK", b"not a state"):
        with pytest.raises(InvalidInputError, match="not a valve state"):
            Valve.from_bytes(data)


@pytest.mark.parametrize("d", [1, 5])
@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(0, 400), max_size=6), lattice=st.booleans(), kept=st.booleans())
def test_batches_and_restores_change_nothing(d, cuts, lattice, kept):
    rng = np.random.default_rng(8)
    rows = rng.standard_normal((900, d)) + np.repeat([0.0, 0.7], [700, 200])[:, None]
    rows = np.round(rows) if lattice else rows
    whole = calibrated(rows[:500], seed=1)
    parts = calibrated(rows[:500], seed=1)
    expected = whole.update(rows[500:])
    edges = [0, *sorted(cuts), 400]
    found = []
    for start, stop in itertools.pairwise(edges):
        parts = Valve.from_bytes(parts.to_bytes()) if kept else parts
        found.append(parts.update(rows[500 + start : 500 + stop]))
    assert (np.concatenate(found) == expected).all()
    assert parts.evidence == pytest.approx(whole.evidence, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-4, 4), min_size=1, max_size=80), st.lists(st.integers(1, 79), max_size=4))
def test_sums_follow_pages_rule(scores, cuts):
    slope, height = np.array([1.0, -0.5]), np.array([3.0, 2.0])
    expected, sums = [], np.zeros(2)
    for x in scores:
        sums = np.maximum(sums + slope * x - 0.5 * slope**2, 0.0)
        expected.append(bool((sums >= height).any()))
        sums = sums * (not expected[-1])
    cusums = Cusums(np.zeros(2, dtype=int), slope, height, np.zeros(2))
    edges = [0, *sorted(min(cut, len(scores)) for cut in cuts), len(scores)]
    found = [cusums.update(np.array([scores[a:b]]))[0] >= 1.0 for a, b in itertools.pairwise(edges) if b > a]
    assert np.concatenate(found).tolist() == expected
    np.testing.assert_allclose(cusums.sums, sums, atol=1e-9)


def test_one_cusum_keeps_siegmunds_approximation():
    # ARL₀ ≈ (exp(2kb) - 2kb - 1) / 2k², b = h + 1.166: 938 at k = 0.5, h = 5.
    rng, h, streams, steps = np.random.default_rng(9), 5.0, 2_000, 500
    sums, alarms = np.zeros(streams), 0
    for _ in range(steps):
        sums = np.maximum(sums + rng.standard_normal(streams) - 0.5, 0.0)
        reached = sums >= h
        alarms += int(reached.sum())
        sums[reached] = 0.0
    b = h + 1.166
    assert streams * steps / alarms == pytest.approx((np.exp(b) - b - 1) / 0.5, rel=0.15)
    one = Cusums(np.zeros(1, dtype=int), np.ones(1), np.full(1, h), np.zeros(1))
    found = int((one.update(rng.standard_normal((1, 200_000)))[0] >= 1.0).sum())
    assert 200_000 / found == pytest.approx((np.exp(b) - b - 1) / 0.5, rel=0.3)


@given(n=st.integers(500, 4_000), arl0=st.floats(100, 1e6), more=st.floats(1.01, 10))
def test_thresholds_grow_with_the_budget_and_with_fewer_references(n, arl0, more):
    assert threshold(n, arl0 * more) > threshold(n, arl0)
    if arl0 >= 1_000:
        assert threshold(500, arl0) >= threshold(n, arl0) - 1e-2


@given(st.integers(1, 300))
def test_normal_scores_are_symmetric_and_grow(n):
    scores = normal_scores(n)
    assert (np.diff(scores) > 0).all()
    np.testing.assert_allclose(scores, -scores[::-1], atol=1e-12)


def test_ranks_on_a_lattice_are_uniform():
    rng = np.random.default_rng(10)
    ranks = Ranks.of((rng.random(2_000) < 0.1).astype(float), rng)
    scores = ranks.scores((rng.random(20_000) < 0.1).astype(float))
    assert abs(scores.mean()) < 0.1
    assert scores.std() == pytest.approx(1.0, abs=0.1)


def test_an_autoregression_leaves_white_noise():
    rng = np.random.default_rng(11)
    x = autoregressive(rng, 4_000, 0.7)[:, None]
    past = AutoRegression.fit(x[:3_000])
    left = past.residuals(x[3_000:])[:, 0]
    assert past.coefficients[0, 0] == pytest.approx(0.7, abs=0.06)
    assert abs(np.corrcoef(left[1:], left[:-1])[0, 1]) < 0.1
