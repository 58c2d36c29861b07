"""Routing: the least ΔE, one task after the other, each counted before the next."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedcore.pricing.agent_routers import ROUTERS, Load, Prices, make_router, route
from seedcore.pricing.potential import FleetState, Weights, delta, potential


def even(n: int, k: int = 1, seconds: float = 0.5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.zeros(n), np.full((n, k), seconds), np.zeros((n, k))


@given(st.integers(1, 20), st.integers(0, 200))
def test_equal_agents_get_equal_shares(agents: int, tasks: int):
    shares = Counter(p.agent for p in route(*even(agents), [0] * tasks, v=1.0))
    assert max(shares.values(), default=0) - min((shares[n] for n in range(agents)), default=0) <= 1


@given(st.lists(st.floats(0, 100), min_size=1, max_size=10), st.lists(st.integers(0, 2), max_size=30), st.data())
def test_the_sum_of_what_was_added_is_the_change_of_the_potential(
    queued: list[float], columns: list[int], data: st.DataObject
):
    n = len(queued)
    cells = st.lists(st.floats(0.001, 10), min_size=3, max_size=3)
    service = np.array(data.draw(st.lists(cells, min_size=n, max_size=n)))
    waiting = np.array(queued)
    before = potential(FleetState(waiting), Weights()).energy
    placements = route(waiting, service, np.zeros((n, 3)), columns, v=0.0)
    after = potential(FleetState(waiting), Weights()).energy
    assert np.isclose(sum(p.delta_energy for p in placements), after - before, rtol=1e-6, atol=1e-6)


@given(st.lists(st.floats(0, 100), min_size=2, max_size=10), st.floats(0.01, 10))
def test_a_single_task_goes_where_least_waits_when_all_are_equally_fast(queued: list[float], seconds: float):
    n = len(queued)
    waiting = np.array(queued)
    (placement,) = route(waiting.copy(), np.full((n, 1), seconds), np.zeros((n, 1)), [0], v=1.0)
    assert np.isclose(waiting[placement.agent], waiting.min(), atol=1e-9 * (1 + waiting.max()))


def test_its_own_assignments_are_counted_at_once():
    queued, service, cost = even(2, seconds=1.0)
    placements = route(queued, service, cost, [0, 0, 0], v=1.0)
    assert [p.agent for p in placements] == [0, 1, 0]
    assert [p.delta_energy for p in placements] == [0.5, 0.5, 1.5]
    assert queued.tolist() == [2.0, 1.0]


def test_a_fast_agent_gets_more_than_a_slow_one():
    queued, service = np.zeros(2), np.array([[0.1], [0.4]])
    shares = Counter(p.agent for p in route(queued, service, np.zeros((2, 1)), [0] * 100, v=0.0))
    assert shares[0] > 3 * shares[1] > 0


def test_an_agent_that_fails_is_avoided_as_much_as_v_says():
    service, cost = np.full((2, 1), 1.0), np.array([[0.5], [0.0]])
    assert route(np.zeros(2), service, cost, [0], v=1.0)[0].agent == 1
    assert route(np.array([0.0, 0.6]), service, cost, [0], v=1.0)[0].agent == 0
    assert route(np.zeros(2), service, cost, [0], v=0.0)[0].agent == 0


def test_each_type_has_its_own_column():
    service = np.array([[0.1, 1.0], [1.0, 0.1]])
    placements = route(np.zeros(2), service, np.zeros((2, 2)), [0, 1], v=0.0)
    assert [p.agent for p in placements] == [0, 1]


def test_no_task_places_nothing():
    assert route(*even(3), [], v=1.0) == []


@given(
    st.lists(st.floats(0, 100), min_size=1, max_size=12),
    st.lists(st.integers(0, 2), max_size=40),
    st.floats(0, 10),
    st.data(),
)
def test_it_chooses_as_one_who_looks_at_every_agent_for_every_task(
    queued: list[float], columns: list[int], v: float, data: st.DataObject
):
    n = len(queued)
    # Few values, so that many agents are equal and the first of them must win.
    cells = st.lists(st.sampled_from([0.0, 0.1, 0.5, 3.0]), min_size=3, max_size=3)
    service, cost = (np.array(data.draw(st.lists(cells, min_size=n, max_size=n))) for _ in range(2))
    waiting, looked_at = np.array(queued), np.array(queued)
    placements = route(waiting, service, cost, columns, v=v)
    for column, placement in zip(columns, placements, strict=True):
        added = delta(looked_at, service[:, column], cost[:, column], v=v)
        assert placement == (int(np.argmin(added)), float(added.min()))
        looked_at[placement.agent] += service[placement.agent, column]
    assert waiting.tolist() == looked_at.tolist()


@given(st.integers(1, 40), st.lists(st.integers(0, 1), max_size=15), st.randoms(use_true_random=False))
def test_looking_at_few_agents_finds_what_looking_at_all_would(n: int, columns: list[int], random: Any):
    # Coarse values: many agents are equal, and the first of them must be chosen.
    waiting = np.array([random.choice([0.0, 0.5, 1.0]) for _ in range(n)])
    service = np.array([[random.choice([0.25, 0.5]) for _ in range(2)] for _ in range(n)])
    cost = np.zeros((n, 2))
    queued, expected = waiting.copy(), []
    for column in columns:
        added = delta(queued, service[:, column], cost[:, column], v=1.0)
        best = int(added.argmin())
        expected.append((best, float(added[best])))
        queued[best] += service[best, column]
    assert [tuple(p) for p in route(waiting, service, cost, columns, v=1.0)] == expected


@given(st.integers(1, 12), st.lists(st.integers(0, 2), max_size=30), st.integers(0, 999), st.floats(0, 1))
def test_the_order_of_agents_changes_nothing(n: int, columns: list[int], seed: int, delay: float):
    draw = np.random.default_rng(seed)
    queued, service, cost = draw.exponential(1.0, n), draw.lognormal(0.0, 1.0, (n, 3)), draw.random((n, 3))
    order = draw.permutation(n)
    one = route(queued.copy(), service, cost, columns, v=1.0, delay=delay)
    other = route(queued[order], service[order], cost[order], columns, v=1.0, delay=delay)
    assert [int(order[p.agent]) for p in other] == [p.agent for p in one]
    assert np.allclose([p.delta_energy for p in other], [p.delta_energy for p in one])


def loaded(queued: list[float], tasks: list[int]) -> Load:
    return Load(np.array(queued, dtype=float), np.array(tasks, dtype=float))


@given(st.sampled_from(ROUTERS), st.integers(1, 12), st.lists(st.integers(0, 1), max_size=20), st.integers(0, 99))
def test_every_router_counts_what_it_places_and_tells_its_energy(name: str, n: int, columns: list[int], seed: int):
    draw = np.random.default_rng(seed)
    load, prices = Load(draw.random(n), np.zeros(n)), Prices(draw.random((n, 2)) + 0.1, draw.random((n, 2)), 2.0)
    before = load.queued_s.copy()
    failures = np.zeros(n)
    placements = make_router(name, seed)(load, prices, columns)
    assert load.tasks.tolist() == np.bincount([p.agent for p in placements], minlength=n).tolist()
    for k, placement in zip(columns, placements, strict=True):
        failures[placement.agent] += prices.cost[placement.agent, k]
    after = potential(FleetState(load.queued_s, failures), Weights(v=2.0)).energy
    assert sum(p.delta_energy for p in placements) == pytest.approx(after - 0.5 * before @ before)


def test_each_router_looks_at_what_its_name_says():
    prices = Prices(np.array([[0.1], [1.0]]), np.zeros((2, 1)), 1.0)

    def first(name: str, load: Load) -> int:
        return make_router(name, 1)(load, prices, [0])[0].agent

    # Many tasks of little work at the fast agent, one of much at the slow one.
    assert first("join_shortest_queue", loaded([0.5, 2.0], [5, 1])) == 1
    assert first("power_of_two", loaded([0.5, 2.0], [5, 1])) == 1
    assert first("least_expected_delay", loaded([0.5, 0.0], [5, 0])) == 0
    assert first("least_expected_delay", loaded([1.5, 0.0], [5, 0])) == 1
    turns = make_router("round_robin", 1)(loaded([0, 0], [0, 0]), prices, [0] * 4)
    assert [p.agent for p in turns[:2]] == [p.agent for p in turns[2:]]
    assert turns[0].agent != turns[1].agent


def test_a_router_draws_the_same_for_the_same_seed():
    prices = Prices(np.ones((8, 1)), np.zeros((8, 1)), 1.0)
    for name in ROUTERS:
        one, other = (make_router(name, 5)(loaded([0] * 8, [0] * 8), prices, [0] * 30) for _ in range(2))
        assert one == other


@given(
    st.lists(st.floats(0, 100), min_size=1, max_size=8),
    st.lists(st.integers(0, 2), max_size=20),
    st.floats(0.01, 2),
    st.integers(0, 99),
)
def test_with_a_penalty_for_delay_it_takes_the_least_of_both_and_tells_the_energy_alone(
    queued: list[float], columns: list[int], delay: float, seed: int
):
    n, draw = len(queued), np.random.default_rng(seed)
    service, cost = draw.random((n, 3)) + 0.01, draw.random((n, 3))
    waiting, looked_at = np.array(queued), np.array(queued)
    placements = route(waiting, service, cost, columns, v=2.0, delay=delay)
    for k, placement in zip(columns, placements, strict=True):
        added = delta(looked_at, service[:, k], cost[:, k], v=2.0)
        weighed = added + delay * service[:, k].mean() * (looked_at + service[:, k])
        assert weighed[placement.agent] == pytest.approx(weighed.min())
        assert placement.delta_energy == pytest.approx(added[placement.agent])
        looked_at[placement.agent] += service[placement.agent, k]
    assert waiting == pytest.approx(looked_at)


def test_the_penalty_is_as_large_as_the_share_of_idle_agents():
    prices = Prices(np.array([[0.3], [0.9], [0.9], [0.9]]), np.zeros((4, 1)), 0.0)
    (idle,) = make_router("energy")(loaded([0.9, 0.0, 0.0, 0.0], [1, 0, 0, 0]), prices, [0])
    (busy,) = make_router("energy")(loaded([0.9, 0.0, 9.0, 9.0], [1, 0, 9, 9]), prices, [0])
    assert (idle.agent, busy.agent) == (1, 0)


def test_the_penalty_sends_a_task_to_an_idle_agent_sooner():
    queued, service = np.array([1.0, 0.0]), np.array([[0.3], [0.9]])
    assert route(queued.copy(), service, np.zeros((2, 1)), [0], v=0.0)[0].agent == 0
    assert route(queued.copy(), service, np.zeros((2, 1)), [0], v=0.0, delay=0.5)[0].agent == 1
