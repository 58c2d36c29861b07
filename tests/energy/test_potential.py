"""The fleet's potential: its terms, its bound, its symmetry, and what a choice adds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedcore.energy.potential import Floats, delta, potential

SECONDS = st.floats(0, 1e6)
FAILURES = st.floats(0, 1e4)
V = st.floats(0, 1e3)
FLEETS = st.lists(st.tuples(SECONDS, FAILURES), max_size=30)


def split(fleet: list[tuple[float, float]]) -> tuple[Floats, Floats]:
    return np.array([w for w, _ in fleet], dtype=np.float64), np.array([f for _, f in fleet], dtype=np.float64)


@given(FLEETS, V)
def test_the_terms_sum_to_the_energy_and_none_is_below_0(fleet: list[tuple[float, float]], v: float):
    found = potential(*split(fleet), v=v)
    assert sum(found.breakdown.values()) == pytest.approx(found.energy)
    assert set(found.breakdown) == {"load", "cost"}
    assert all(term >= 0 for term in found.breakdown.values())


@given(st.permutations(range(8)), st.lists(st.tuples(SECONDS, FAILURES), min_size=8, max_size=8), V)
def test_the_order_of_agents_changes_nothing(order: list[int], fleet: list[tuple[float, float]], v: float):
    shuffled = [fleet[n] for n in order]
    assert potential(*split(shuffled), v=v).energy == pytest.approx(potential(*split(fleet), v=v).energy, rel=1e-12)


@given(FLEETS.filter(len), SECONDS, st.data())
def test_what_a_task_adds_is_the_difference_of_potentials(
    fleet: list[tuple[float, float]], service_s: float, data: st.DataObject
):
    queued, failures = split(fleet)
    at = data.draw(st.integers(0, len(fleet) - 1))
    added = delta(queued, np.full(len(fleet), service_s), np.zeros(len(fleet)), v=0.0)[at]
    after = queued.copy()
    after[at] += service_s
    before_load = potential(queued, failures, v=0.0).breakdown["load"]
    after_load = potential(after, failures, v=0.0).breakdown["load"]
    assert added == pytest.approx(after_load - before_load, rel=1e-6, abs=1e-6 * (1 + after_load))


@given(FLEETS.filter(len), SECONDS, st.floats(0, 1), V)
def test_cost_adds_v_times_itself(fleet: list[tuple[float, float]], service_s: float, cost: float, v: float):
    queued, _ = split(fleet)
    service, none = np.full(len(fleet), service_s), np.zeros(len(fleet))
    with_cost = delta(queued, service, np.full(len(fleet), cost), v=v)
    assert with_cost == pytest.approx(delta(queued, service, none, v=v) + v * cost)


def test_each_term_is_what_its_formula_says():
    found = potential(np.array([3.0, 4.0]), np.array([0.5, 0.25]), v=2.0)
    assert found.breakdown == {"load": 12.5, "cost": 1.5}
    assert found.energy == 14.0


def test_without_a_term_the_others_stay():
    queued, failures = np.array([3.0, 4.0]), np.array([0.5, 0.25])
    whole = potential(queued, failures, v=2.0)
    assert potential(queued * 0, failures, v=2.0).energy == whole.breakdown["cost"]
    assert potential(queued, failures, v=0.0).energy == whole.breakdown["load"]


def test_an_empty_fleet_has_no_energy():
    assert potential(np.array([]), np.array([]), v=1.0).energy == 0


def test_an_even_load_has_the_least_energy_of_all_with_its_sum():
    even, uneven = np.array([2.0, 2.0]), np.array([1.0, 3.0])
    none = np.zeros(2)
    assert potential(even, none, v=1.0).energy < potential(uneven, none, v=1.0).energy


@pytest.mark.parametrize(
    ("queued", "failures", "v"),
    [
        ([1.0], [1.0, 2.0], 1.0),
        ([[1.0]], [[1.0]], 1.0),
        ([-1.0], [0.0], 1.0),
        ([1.0], [-0.1], 1.0),
        ([1.0], [0.0], -1.0),
        ([float("nan")], [0.0], 1.0),
        ([float("inf")], [0.0], 1.0),
        ([1.0], [0.0], float("inf")),
    ],
)
def test_what_is_no_load_is_refused(queued: list, failures: list, v: float):
    with pytest.raises(ValueError, match="must be"):
        potential(np.array(queued), np.array(failures), v=v)
