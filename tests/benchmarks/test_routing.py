"""The simulation of routers: right where the answer is known, and the same every time."""

import numpy as np
import pytest

from benchmarks.routing.herding import Herd, simulate_herd
from benchmarks.routing.instance import Instance, capacity, failing, heterogeneous, identical
from benchmarks.routing.parts import LOADS, Table
from benchmarks.routing.simulate import Case, simulate
from benchmarks.routing.targets import checks


def test_the_capacity_is_what_the_best_shares_of_work_allow():
    assert identical(0).capacity == pytest.approx(capacity(np.ones((16, 4)), np.full(4, 0.25)))
    assert capacity(np.array([[1.0, 4.0], [4.0, 1.0]]), np.array([0.5, 0.5])) == pytest.approx(2.0)
    assert failing(1).capacity < heterogeneous(1).capacity


@pytest.mark.parametrize("router", ["energy", "power_of_two"])
def test_a_simulation_is_the_same_every_time_and_another_seed_is_another(router: str):
    fleet = heterogeneous(0)
    one, same, other = (simulate(fleet, Case(router, 0.6, tasks=300, seed=seed)) for seed in (1, 1, 2))
    assert one.responses.tolist() == same.responses.tolist()
    assert one.mean_s != other.mean_s


def test_one_agent_is_the_queue_of_the_textbook():
    """M/M/1: mean response 1 / (μ - λ)."""
    fleet = Instance(np.ones((1, 1)), np.ones(1), np.zeros(1), 1.0)
    means = [simulate(fleet, Case("energy", 0.5, tasks=4000, seed=seed)).mean_s for seed in range(6)]
    assert np.mean(means) == pytest.approx(2.0, rel=0.12)


def test_failed_attempts_are_tried_again_until_all_have_ended():
    found = simulate(failing(0), Case("energy", 0.6, tasks=400))
    assert (found.responses > 0).all()


def test_coordinators_that_do_not_see_one_another_do_not_herd():
    """Four with views of their own, half a second old, against one: what herding costs is waiting. (Rates are known:
    four learn each from a quarter of the outcomes.)"""
    for fleet in (heterogeneous(0), identical(0)):
        alone, two, four = (
            simulate(fleet, Case("energy", 0.8, known=True, stale_s=0.5, coordinators=n, tasks=2500)).mean_s
            for n in (1, 2, 4)
        )
        assert max(two, four) < 1.2 * alone


def test_targets_are_held_against_the_tables():
    good = {name: [1.0] * len(LOADS) for name in ("energy", "oracle")}
    others = ("least_expected_delay", "join_shortest_queue", "power_of_two", "round_robin", "random")
    rows = good | {name: [10.0] * len(LOADS) for name in others}
    assert all(met for *_, met in checks([Table("heterogeneous agents, mean", [], rows)]))
    rows["energy"] = [3.0] * len(LOADS)
    missed = [what for what, *_, met in checks([Table("heterogeneous agents, mean", [], rows)]) if not met]
    assert len(missed) == 9


def test_workers_that_hear_of_one_another_at_once_are_as_good_as_one_decider():
    fleet = heterogeneous(0)
    alone = simulate_herd(fleet, Herd(0.6, known=True, tasks=1500))
    often = simulate_herd(fleet, Herd(0.6, known=True, every_s=0.002, tasks=1500))
    assert often.mean_s == pytest.approx(alone.mean_s, rel=0.1)
    assert simulate_herd(fleet, Herd(0.6, known=True, tasks=1500)) == alone


def test_older_views_and_shorter_tasks_make_workers_herd_more():
    fleet = heterogeneous(0)
    means = [
        simulate_herd(fleet, Herd(0.6, known=True, every_s=every, scale_s=0.1, tasks=1500)).mean_s
        for every in (0.0, 0.1, 0.5)
    ]
    assert means == sorted(means)
    assert means[2] > 1.3 * means[0]


def test_a_dear_hop_keeps_tasks_at_the_workers_that_claimed_them():
    fleet = identical(0)
    cheap, dear = (simulate_herd(fleet, Herd(0.3, known=True, hop_s=hop, tasks=800)).crossed for hop in (0.0, 5.0))
    assert cheap == 0.0
    assert dear < 0.2
    assert simulate_herd(fleet, Herd(0.3, known=True, hop_s=0.01, workers=2, tasks=800)).crossed < 0.5


def test_one_worker_is_the_queue_of_the_textbook():
    """M/M/1, with reports that nobody else reads: mean response 1 / (μ - λ)."""
    fleet = Instance(np.ones((1, 1)), np.ones(1), np.zeros(1), 1.0)
    cases = [Herd(0.5, workers=1, every_s=0.5, tasks=4000, seed=seed) for seed in range(6)]
    assert np.mean([simulate_herd(fleet, case).mean_s for case in cases]) == pytest.approx(2.0, rel=0.12)
