"""The fleet's potential: its terms, its bound, its gradient, its symmetry, and what a choice adds."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedcore.pricing.potential import FleetState, Weights, delta, gradient, potential, terms
from tests.pricing.duals import Dual, seeded

SECONDS = st.floats(0, 1e6)
FAILURES = st.floats(0, 1e4)
V = st.floats(0, 1e3)
WEIGHTS = st.builds(Weights, v=V, collaboration=V, roles=V, memory=V, drift=V)
SHARES = st.floats(0, 1)
ALL = {"load", "cost", "collaboration", "roles", "memory", "drift"}
VARIABLES = ("queued_s", "expected_failure", "shared", "together", "roles", "memory", "drift")


def vectors(elements: st.SearchStrategy[float], n: int) -> st.SearchStrategy[np.ndarray]:
    return st.lists(elements, min_size=n, max_size=n).map(lambda values: np.array(values, dtype=np.float64))


@st.composite
def fleets(draw: st.DrawFn, least: int = 0) -> FleetState:
    """Fleets of which everything is known; probabilities of roles are what random weights come to."""
    n, pairs, stores, streams = draw(st.tuples(st.integers(least, 4), *[st.integers(0, 3)] * 3))
    roles, counts = [], []
    for _ in range(n):
        weights = np.array(draw(st.lists(st.floats(1e-6, 1), min_size=1, max_size=4)))
        roles += (weights / weights.sum()).tolist()
        counts += [len(weights)] * len(weights)
    return FleetState(
        draw(vectors(SECONDS, n)),
        draw(vectors(FAILURES, n)),
        draw(vectors(FAILURES, pairs)),
        draw(vectors(SHARES, pairs)),
        np.array(roles),
        np.array(counts, dtype=np.float64),
        draw(vectors(SHARES, stores)),
        draw(vectors(SHARES, streams)),
    )


def load(*queued: float) -> FleetState:
    return FleetState(np.array(queued, dtype=np.float64))


@given(fleets(), WEIGHTS)
def test_the_terms_sum_to_the_energy_and_none_is_below_0(fleet: FleetState, weights: Weights):
    found = potential(fleet, weights)
    assert sum(found.breakdown.values()) == pytest.approx(found.energy)
    assert set(found.breakdown) == ALL
    assert all(term >= -1e-9 * weights.roles * len(fleet.queued_s) for term in found.breakdown.values())


@given(fleets(least=1), st.randoms(use_true_random=False), WEIGHTS)
def test_the_order_of_agents_changes_nothing(fleet: FleetState, random: Any, weights: Weights):
    order = list(range(len(fleet.queued_s)))
    random.shuffle(order)
    assert fleet.roles is not None
    assert fleet.role_count is not None
    assert fleet.expected_failure is not None
    ends = np.cumsum([0, *_counts(fleet.role_count)])
    rows = [row for n in order for row in range(ends[n], ends[n + 1])]
    shuffled = replace(
        fleet,
        queued_s=fleet.queued_s[order],
        expected_failure=fleet.expected_failure[order],
        roles=fleet.roles[rows],
        role_count=fleet.role_count[rows],
    )
    assert potential(shuffled, weights).breakdown == pytest.approx(potential(fleet, weights).breakdown, rel=1e-9)


def _counts(rows: np.ndarray) -> list[int]:
    counts, place = [], 0
    while place < len(rows):
        counts.append(int(rows[place]))
        place += counts[-1]
    return counts


@settings(max_examples=40)
@given(fleets(least=1), WEIGHTS)
def test_the_gradient_is_what_automatic_differentiation_of_the_potential_gives(fleet: FleetState, weights: Weights):
    slopes = gradient(fleet, weights)
    assert set(slopes) == set(VARIABLES)
    for name in VARIABLES:
        values = getattr(fleet, name)
        for at in range(len(values)):
            moved = terms(replace(fleet, **{name: seeded(values, at)}), weights)
            total = sum((term for term in moved.values() if isinstance(term, Dual)), Dual(0.0))
            assert slopes[name][at] == pytest.approx(total.slope, rel=1e-9, abs=1e-9), name


@settings(max_examples=40)
@given(fleets(least=1), WEIGHTS)
def test_the_gradient_is_what_finite_differences_give(fleet: FleetState, weights: Weights):
    slopes = gradient(fleet, weights)
    for name in VARIABLES:
        values = getattr(fleet, name)
        for at in range(len(values)):
            step = 1e-4 * max(float(values[at]), 1e-7 if name == "roles" else 1e-3)
            ahead, behind = values.copy(), values.copy()
            ahead[at] += step
            behind[at] -= step
            up, down = (terms(replace(fleet, **{name: moved}), weights) for moved in (ahead, behind))
            # Each term by itself: a small one would drown in the rounding of a large one.
            found = sum((float(up[term]) - float(down[term])) / (2 * step) for term in up)
            noise = sum(abs(float(term)) for term in up.values()) * 1e-15 / step
            assert slopes[name][at] == pytest.approx(found, rel=1e-4, abs=1e-6 + 10 * noise), name


def test_each_term_is_what_its_formula_says():
    fleet = FleetState(
        np.array([3.0, 4.0]),
        np.array([0.5, 0.25]),
        np.array([10.0]),
        np.array([0.75]),
        np.array([0.5, 0.5, 1.0, 0.0]),
        np.array([2.0] * 4),
        np.array([0.5]),
        np.array([0.25]),
    )
    found = potential(fleet, Weights(v=2.0, collaboration=3.0, roles=5.0, memory=8.0, drift=4.0))
    assert found.breakdown == pytest.approx(
        {"load": 12.5, "cost": 1.5, "collaboration": 15.0, "roles": 5 * np.log(2), "memory": 1.0, "drift": 1.0}
    )


def test_unknown_inputs_have_no_term():
    assert potential(load(3, 4), Weights()).breakdown == {"load": 12.5}
    assert set(gradient(load(3, 4), Weights())) == {"queued_s"}


@given(fleets(), WEIGHTS, st.sampled_from(sorted(ALL - {"load"})))
def test_a_term_without_weight_adds_nothing_and_leaves_the_others(fleet: FleetState, weights: Weights, term: str):
    whole = potential(fleet, weights).breakdown
    without = potential(fleet, replace(weights, **{"v" if term == "cost" else term: 0.0})).breakdown
    assert without[term] == 0
    others = ALL - {term} - ({"collaboration"} if term == "cost" else set())
    assert {name: without[name] for name in others} == {name: whole[name] for name in others}


@given(st.lists(st.tuples(SECONDS, FAILURES), min_size=1, max_size=20), SECONDS, SHARES, V, st.data())
def test_what_a_task_adds_is_the_difference_of_potentials(
    fleet: list[tuple[float, float]], service_s: float, cost: float, v: float, data: st.DataObject
):
    queued, failures = (np.array(column) for column in zip(*fleet, strict=True))
    at = data.draw(st.integers(0, len(fleet) - 1))
    added = delta(queued, np.full(len(fleet), service_s), np.full(len(fleet), cost), v=v)[at]
    before = potential(FleetState(queued.copy(), failures.copy()), Weights(v=v)).energy
    queued[at] += service_s
    failures[at] += cost
    after = potential(FleetState(queued, failures), Weights(v=v)).energy
    assert added == pytest.approx(after - before, rel=1e-6, abs=1e-6 * (1 + after))


def test_an_empty_fleet_has_no_energy():
    assert potential(load(), Weights()).energy == 0


def test_an_even_load_has_the_least_energy_of_all_with_its_sum():
    assert potential(load(2, 2), Weights()).energy < potential(load(1, 3), Weights()).energy


def test_roles_weigh_least_when_every_agent_can_play_every_one():
    def of(*shares: float) -> float:
        fleet = FleetState(np.zeros(1), roles=np.array(shares), role_count=np.full(len(shares), float(len(shares))))
        return potential(fleet, Weights()).breakdown["roles"]

    assert of(0.5, 0.5) < of(0.7, 0.3) < of(1.0, 0.0)
    assert (of(0.5, 0.5), of(1.0, 0.0)) == pytest.approx((0, np.log(2)))


def test_at_a_probability_of_0_the_gradient_is_finite():
    fleet = FleetState(np.zeros(1), roles=np.array([1.0, 0.0]), role_count=np.array([2.0, 2.0]))
    assert np.isfinite(gradient(fleet, Weights())["roles"]).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"queued_s": [[1.0]]},
        {"queued_s": [-1.0]},
        {"queued_s": [float("nan")]},
        {"queued_s": [float("inf")]},
        {"expected_failure": [1.0, 2.0]},
        {"expected_failure": [-0.1]},
        {"shared": [1.0], "together": [1.5]},
        {"together": [0.5]},
        {"roles": [0.5, 0.5]},
        {"roles": [0.5, 0.4], "role_count": [2.0, 2.0]},
        {"memory": [1.1]},
        {"drift": [-0.1]},
    ],
)
def test_what_is_no_state_is_refused(wrong: dict[str, Any]):
    fields = {"queued_s": [1.0], **wrong}
    fleet = FleetState(**{name: np.array(values) for name, values in fields.items()})
    for refuses in (potential, gradient):
        with pytest.raises(ValueError, match=r"must be|must sum"):
            refuses(fleet, Weights())


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["v", "collaboration", "roles", "memory", "drift"])
def test_weights_that_would_lift_the_bound_are_refused(name: str, value: float):
    with pytest.raises(ValueError, match=name):
        Weights(**{name: value})
