"""Moves that would lower the energy: each does, they end, and at their end none is left."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedcore.energy.rebalancing import moves, one_more

AGENTS = st.lists(st.tuples(st.integers(0, 12), st.floats(0.01, 5)), min_size=1, max_size=8)


@given(AGENTS)
def test_every_move_lowers_the_energy_by_what_it_says_until_none_does(agents: list[tuple[int, float]]):
    tasks = np.array([float(n) for n, _ in agents])
    task_s = np.array([seconds for _, seconds in agents])
    queued = tasks * task_s
    found = moves(queued, tasks, task_s, 1000)
    assert len(found) < 1000
    for move in found:
        before = 0.5 * queued @ queued
        queued[move.source] -= move.seconds
        queued[move.target] += task_s[move.target]
        assert move.delta_energy < 0
        assert 0.5 * queued @ queued - before == pytest.approx(move.delta_energy, abs=1e-9)
        tasks[move.source] -= 1
        tasks[move.target] += 1
    assert moves(queued, tasks, task_s, 1) == []
    assert (queued >= -1e-9).all()


def test_the_task_that_runs_stays():
    assert moves(np.array([5.0, 0.0]), np.array([1.0, 0.0]), np.array([5.0, 5.0]), 10) == []


def test_no_more_moves_than_were_asked_for():
    assert len(moves(np.array([9.0, 0.0]), np.array([9.0, 0.0]), np.array([1.0, 1.0]), 2)) == 2


@given(st.lists(st.floats(0, 100), min_size=1, max_size=9))
def test_one_more_agent_is_worth_the_difference_of_even_spreads(queued: list[float]):
    n, total = len(queued), sum(queued)
    expected = 0.5 * (total / (n + 1)) ** 2 * (n + 1) - 0.5 * (total / n) ** 2 * n
    assert one_more(np.array(queued)) == pytest.approx(expected, abs=1e-9)
