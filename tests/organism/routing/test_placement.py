"""Agents to hosts: everybody somewhere, nobody crowded, few moves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedcore.organism.routing.placement import choose_node, keys_of, place

AGENTS = st.lists(st.text(min_size=1, max_size=12), max_size=120, unique=True)
HOSTS = st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=9, unique=True)


def homes(agents: list[str], hosts: list[str]) -> dict[str, str]:
    return {agent: hosts[n] for agent, n in zip(agents, place(keys_of(agents), hosts).tolist(), strict=True)}


@given(AGENTS, HOSTS)
def test_every_agent_has_a_host_and_no_host_more_than_its_part(agents: list[str], hosts: list[str]):
    found = place(keys_of(agents), hosts)
    assert ((found >= 0) & (found < len(hosts))).all()
    assert np.bincount(found, minlength=len(hosts)).max(initial=0) <= -(-len(agents) // len(hosts))


@given(AGENTS, HOSTS, st.randoms(use_true_random=False))
def test_the_order_of_agents_and_hosts_does_not_matter(agents: list[str], hosts: list[str], random):
    shuffled, turned = random.sample(agents, len(agents)), random.sample(hosts, len(hosts))
    assert homes(agents, hosts) == homes(shuffled, turned)


@given(st.integers(2, 12), st.integers(0, 400))
def test_when_a_host_goes_and_comes_back_everybody_is_back(hosts: int, agents: int):
    names, ids = [f"h-{n}" for n in range(hosts)], [f"a-{n}" for n in range(agents)]
    before = homes(ids, names)
    homes(ids, names[1:])
    assert homes(ids, names) == before


def test_when_a_host_goes_few_others_move():
    ids, hosts = [f"a-{n:06d}" for n in range(20_000)], [f"h-{n}" for n in range(10)]
    before, after = homes(ids, hosts), homes(ids, hosts[:-1])
    stayed = [agent for agent in ids if before[agent] != hosts[-1]]
    assert sum(before[agent] != after[agent] for agent in stayed) < 0.02 * len(ids)


def test_agents_without_a_host_are_an_error():
    assert place(keys_of([]), []).tolist() == []
    with pytest.raises(ValueError, match="no host"):
        place(keys_of(["a"]), [])


def test_a_new_host_goes_where_its_organ_has_fewest_then_where_fewest_are():
    taken = {"h-1": ("a", "n-1"), "h-2": ("b", "n-2"), "h-3": ("b", "n-2"), "h-4": ("b", "n-3")}
    assert choose_node(["n-1", "n-2", "n-3"], "a", taken) == "n-3"
    assert choose_node(["n-1", "n-2"], "a", taken) == "n-2"
    assert choose_node([], "a", taken) is None
