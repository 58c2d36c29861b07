"""Calls that wait: agents in turn, and no more of one at once than allowed."""

from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedcore.worker.execution.fair_queue import AgentLimit, FairQueue


@dataclass(eq=False)
class Item:
    agent: str
    n: int = 0
    ended: bool = False


AGENTS = st.lists(st.sampled_from("abc"), max_size=40)


def test_agents_take_turns_whatever_waits_for_each():
    turns: FairQueue[Item] = FairQueue()
    turns.add([Item("a", n) for n in range(5)])
    turns.add([Item("b"), Item("c")])
    assert [turns.take().agent for _ in range(7)] == ["a", "b", "c", "a", "a", "a", "a"]
    assert len(turns) == 0
    with pytest.raises(IndexError):
        turns.take()


@given(AGENTS)
def test_nothing_is_lost_and_each_agents_order_is_kept(agents: list[str]):
    turns: FairQueue[Item] = FairQueue()
    turns.add([Item(agent, n) for n, agent in enumerate(agents)])
    taken = [turns.take() for _ in range(len(turns))]
    assert sorted(item.n for item in taken) == list(range(len(agents)))
    for agent in "abc":
        own = [item.n for item in taken if item.agent == agent]
        assert own == sorted(own)


@given(AGENTS)
def test_an_agent_waits_at_most_one_round_for_its_first_item(agents: list[str]):
    turns: FairQueue[Item] = FairQueue()
    turns.add([Item(agent) for agent in agents])
    first = [turns.take().agent for _ in range(len(set(agents)))]
    assert len(set(first)) == len(first)


def test_without_a_limit_all_pass():
    gate: AgentLimit[Item] = AgentLimit(0)
    items = [Item("a") for _ in range(9)]
    assert list(gate.enter(items)) == items
    assert gate.leave(items[0]) is None


@given(AGENTS, st.integers(1, 4), st.sets(st.integers(0, 39)))
def test_no_more_of_an_agent_pass_at_once_and_all_that_live_pass_in_the_end(
    agents: list[str], most: int, cancelled: set[int]
):
    gate: AgentLimit[Item] = AgentLimit(most)
    items = [Item(agent, n) for n, agent in enumerate(agents)]
    inside = list(gate.enter(items))
    for item in items:
        if item.n in cancelled and item not in inside:
            item.ended = True
            assert gate.leave(item) is None, "it had not got through: nobody takes its place"
    passed = list(inside)
    while inside:
        assert max(Counter(item.agent for item in inside).values()) <= most
        over = inside.pop(0)
        if (following := gate.leave(over)) is not None:
            inside.append(following)
            passed.append(following)
    assert sorted(item.n for item in passed) == [item.n for item in items if not item.ended]
    assert gate._through == {}
    assert gate._waiting == {}
