"""Probabilities of roles: from the organ's weights, towards what an agent succeeds at."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedcore.fleet.agent_roles import count, merge_earlier, normalised, probabilities

ROLES = ["reader", "writer", "singer"]
WEIGHTS = st.dictionaries(st.sampled_from(ROLES), st.floats(0.001, 1000), min_size=1)
DONE = st.lists(st.sampled_from(ROLES), max_size=60)


def counted(done: list[str]) -> dict[str, float]:
    counts: dict[str, float] = {}
    for role in done:
        count(counts, role)
    return counts


def test_without_successes_they_are_the_organs():
    assert probabilities(normalised({"reader": 3, "writer": 1}), {}) == {"reader": 0.75, "writer": 0.25}


def test_an_organ_without_roles_has_none():
    assert probabilities(normalised({}), {"reader": 3.0}) == {}


@given(WEIGHTS, DONE)
def test_they_sum_to_one_over_the_organs_roles(weights: dict[str, float], done: list[str]):
    found = probabilities(normalised(weights), counted(done))
    assert set(found) == set(weights)
    assert sum(found.values()) == pytest.approx(1)
    assert all(p > 0 for p in found.values())


@given(WEIGHTS, DONE, st.sampled_from(ROLES))
def test_a_success_makes_its_role_likelier(weights: dict[str, float], done: list[str], role: str):
    prior = normalised(weights)
    if role not in prior:
        return
    before = probabilities(prior, counted(done))[role]
    after = probabilities(prior, counted([*done, role]))[role]
    assert after >= before - 1e-12


def test_what_an_agent_does_now_outweighs_what_it_did_long_ago():
    counts = counted(["reader"] * 200 + ["writer"] * 100)
    found = probabilities(normalised({"reader": 1, "writer": 1}), counts)
    assert found["writer"] > 0.7


@given(DONE, DONE)
def test_counts_that_come_late_are_put_before(earlier: list[str], later: list[str]):
    counts = counted(later)
    merge_earlier(counts, counted(earlier))
    whole = counted(earlier + later)
    assert {role: pytest.approx(value) for role, value in counts.items()} == whole
