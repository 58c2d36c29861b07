"""Rebalancer: a host moves to a node that has two fewer, after a while, and not for ever."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from seedcore.organism.control.rebalancer import MAX_MOVE_PAUSE_S, MOVE_AFTER_S, Rebalancer

NODES = ("n-1", "n-2", "n-3")


def test_a_host_moves_once_a_node_has_had_two_fewer_for_a_while():
    spreading, hosts = Rebalancer(), {"h-1": "n-1", "h-2": "n-2", "h-3": "n-1"}
    assert spreading.next_move("a", hosts, NODES, 0.0) is None
    assert spreading.next_move("a", hosts, NODES, MOVE_AFTER_S - 1) is None
    assert spreading.next_move("a", hosts, NODES, MOVE_AFTER_S) == "h-3"


def test_one_that_is_even_in_between_starts_again():
    spreading, hosts = Rebalancer(), {"h-1": "n-1", "h-2": "n-1"}
    spreading.next_move("a", hosts, NODES, 0.0)
    assert spreading.next_move("a", hosts, ("n-1",), 30.0) is None
    assert spreading.next_move("a", hosts, NODES, MOVE_AFTER_S) is None
    assert spreading.next_move("a", hosts, NODES, 2 * MOVE_AFTER_S) == "h-2"


def test_moves_that_change_nothing_become_rare():
    spreading, hosts = Rebalancer(), {"h-1": "n-1", "h-2": "n-1"}
    moves = [s for s in range(0, 40_000, 10) if spreading.next_move("a", hosts, NODES, float(s)) is not None]
    pauses = [later - earlier for earlier, later in pairwise(moves)]
    assert pauses == sorted(pauses)
    assert max(pauses) == MAX_MOVE_PAUSE_S
    assert len(moves) < 20


@given(
    st.dictionaries(st.sampled_from([f"h-{n}" for n in range(9)]), st.sampled_from(NODES), max_size=9),
    st.sets(st.sampled_from(NODES)),
)
def test_every_move_makes_it_more_even_and_it_ends(hosts: dict[str, str], nodes: set[str]):
    spreading, now = Rebalancer(), 0.0
    for _ in range(60):
        now += 2 * MAX_MOVE_PAUSE_S
        host = spreading.next_move("a", hosts, nodes, now)
        if host is not None:
            fewest = min(nodes, key=lambda node: list(hosts.values()).count(node))
            assert list(hosts.values()).count(hosts[host]) - list(hosts.values()).count(fewest) >= 2
            hosts = hosts | {host: fewest}
    count = [list(hosts.values()).count(node) for node in {*hosts.values(), *nodes}]
    assert not nodes or not hosts or max(count) - min(list(hosts.values()).count(node) for node in nodes) < 2
