"""Prices: what is learned of a type, until its data is there, and what it costs in money."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from seedcore.decision.agent_selection import RoutingState
from seedcore.decision.batch import Data, TaskBatch, Verdict
from seedcore.decision.decide import decide
from seedcore.decision.fleet_table import Fleet
from seedcore.decision.task_costs import MAX_PLACES, task_costs

GIB = 2.0**30


def decided(made: Fleet, state: RoutingState, types: list[str], data: Sequence[Data | None] = ()) -> list[Verdict]:
    tasks = TaskBatch.of_types(types)
    answer = decide(replace(tasks, data=data or tasks.data), made, state)
    return [answer.verdicts[n] for n in answer.verdict]


SKILLS = {"echo": "o", "text": "o"}


def fleet(nodes: list[str | None] | None = None) -> Fleet:
    organ: dict[str, Any] = {"agents": ["a-0", "a-1", "a-2"], "hosts": ["h-0", "h-1"], "host": [0, 1, 1]}
    if nodes:
        organ["nodes"] = nodes
    made = Fleet()
    made.update(
        {"epoch": 1, "skills": SKILLS, "timeouts": {}, "organs": {"o": {**organ, "scouts": [], "archived": []}}}
    )
    return made


def transfers(made: Fleet, at: str, bytes_per_s: float | None = GIB) -> list[float]:
    team = made.team("o")
    assert team is not None
    found = task_costs([("echo", None), ("echo", (at, 4 * GIB))], made, team, 1.0, bytes_per_s)
    return (found.service[:, 1] - found.service[:, 0]).tolist()


@pytest.mark.parametrize(
    ("at", "seconds"),
    [("a-1", [4, 0, 4]), ("h-1", [4, 0, 0]), ("n-0", [0, 4, 4]), ("elsewhere", [4, 4, 4])],
)
def test_data_takes_as_long_as_its_bytes_need_but_where_it_is(at: str, seconds: list[float]):
    assert transfers(fleet(["n-0", "n-1"]), at) == seconds


def test_the_location_of_data_does_not_count_while_the_transfer_rate_is_unknown():
    team = fleet().team("o")
    assert team is not None
    found = task_costs([("echo", ("a-1", GIB)), ("echo", None)], fleet(), team, 1.0, None)
    assert (found.columns, found.types) == ([0, 0], ["echo"])


def test_unknown_nodes_are_not_a_location():
    assert transfers(fleet(), "n-0") == [4, 4, 4]


def test_places_of_one_batch_are_bounded_and_those_over_it_counted():
    made = fleet()
    team = made.team("o")
    assert team is not None
    found = task_costs([("echo", (f"x-{n}", 8.0)) for n in range(MAX_PLACES + 10)], made, team, 1.0, GIB)
    assert (found.places_over_limit, found.service.shape[1]) == (10, MAX_PLACES + 1)


def test_a_task_goes_where_its_data_is_unless_too_much_waits_there():
    made, state = fleet(), RoutingState(1.0, bytes_per_s=GIB)
    decisions = decided(made, state, ["echo"] * 2, [("a-2", GIB), ("a-2", 4 * GIB)])
    assert [d.agent for d in decisions] == ["a-2", "a-2"]
    made.report("one", [("a-2", "echo", 100)])
    (away,) = decided(made, state, ["echo"], [("a-2", GIB)])
    assert away.agent != "a-2"
    assert away.expected_s > 1


def test_money_counts_as_much_as_the_setting_says_and_is_absent_where_none_was_reported():
    made = fleet()
    for agent, money in (("a-0", 50.0), ("a-1", 5.0), ("a-2", 50.0)):
        made.money_rates.add(agent, "echo", 50, money)
    (cheap,) = decided(made, RoutingState(1.0), ["echo"])
    assert cheap.agent == "a-1"
    (other,) = decided(made, RoutingState(1.0), ["text"])
    assert other.agent == "a-0"
    (careless,) = decided(made, RoutingState(1.0, money=0.0), ["echo"])
    assert careless.agent == "a-0"
