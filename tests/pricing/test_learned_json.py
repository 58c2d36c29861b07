"""Learned rates and money as JSON: nothing is lost on the way, and what is learned later counts as it would have."""

from collections.abc import Sequence

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedcore.pricing.learned_increments import add_increments, summed
from seedcore.pricing.learned_json import Learned
from seedcore.pricing.money_rates import MoneyRates
from seedcore.pricing.rates import RateEstimate, RateTable

AGENTS = {"a": 0, "b": 1, "c": 2}
ORGAN = {"a": "left", "b": "left", "c": "right"}
TYPES = ["x", "y"]
OUTCOMES = st.lists(
    st.integers(1, 60).flatmap(
        lambda n: st.tuples(
            st.sampled_from(sorted(AGENTS)),
            st.sampled_from(TYPES),
            st.just(n),
            st.floats(0, 1e4, allow_nan=False),
            st.integers(0, n),
        )
    ),
    max_size=30,
)
Outcome = tuple[str, str, int, float, int]


def learn(rates: RateTable, money: MoneyRates, outcomes: Sequence[Outcome]) -> None:
    for agent, task_type, count, seconds, successes in outcomes:
        rates.add(agent, task_type, count, seconds, successes, ORGAN[agent])
        if successes:
            money.add(agent, task_type, successes, seconds / 7)


def through_json(rates: RateTable, money: MoneyRates) -> tuple[RateTable, MoneyRates]:
    body = orjson.loads(orjson.dumps({"rates": rates.to_json(), "money": money.to_json()}))
    return RateTable.from_json(body["rates"]), MoneyRates.from_json(body["money"])


def seen(rates: RateTable, money: MoneyRates) -> list[list[float] | None]:
    found: list[list[float] | None] = []
    for task_type in TYPES:
        for organ in ("left", "right", "new"):
            found += [column.tolist() for column in rates.columns(AGENTS, task_type, organ).means()]
        spent = money.expected(AGENTS, task_type)
        found.append(None if spent is None else spent.tolist())
    return found


@given(OUTCOMES, OUTCOMES, st.floats(0, 50))
def test_a_table_that_went_through_json_is_and_stays_the_same(
    before: list[Outcome], after: list[Outcome], earlier: float
):
    rates, money = RateTable(), MoneyRates()
    learn(rates, money, before)
    rates.merge_earlier("b", "x", RateEstimate(earlier, earlier * 3, earlier / 2), "left")
    again, money_again = through_json(rates, money)
    assert seen(again, money_again) == seen(rates, money)
    assert again.to_json() == rates.to_json()
    learn(rates, money, after)
    learn(again, money_again, after)
    assert seen(again, money_again) == seen(rates, money)
    assert money_again.to_json() == money.to_json()


@given(OUTCOMES)
def test_increments_added_one_by_one_make_the_same_table(outcomes: list[Outcome]):
    rates, money = RateTable(), MoneyRates()
    learn(rates, money, outcomes)
    increments: list[Learned] = []
    for agent, task_type, count, seconds, successes in outcomes:
        one: Learned = {
            "agent": agent,
            "type": task_type,
            "count": count,
            "seconds": seconds,
            "successes": successes,
        }
        if successes:
            one |= {"money": seconds / 7, "paid": successes}
        increments.append(one)
    again, money_again = RateTable(), MoneyRates()
    add_increments(increments, again, money_again, ORGAN.__getitem__)
    assert seen(again, money_again) == seen(rates, money)


def test_increments_of_one_agent_and_type_are_summed_and_money_alone_is_no_outcome():
    paid: Learned = {"agent": "a", "type": "x", "count": 0, "seconds": 0.0, "successes": 0, "money": 2.0, "paid": 1}
    ran: Learned = {"agent": "a", "type": "x", "count": 2, "seconds": 3.0, "successes": 1}
    other: Learned = {"agent": "b", "type": "x", "count": 1, "seconds": 1.0, "successes": 1}
    expected = {"agent": "a", "type": "x", "count": 4, "seconds": 6.0, "successes": 2, "money": 4.0, "paid": 2}
    assert summed([ran, other, paid, ran, paid]) == [expected, other]
    assert "money" not in ran
    rates, money = RateTable(), MoneyRates()
    add_increments([paid], rates, money, lambda _: "")
    assert rates.to_json() == {}
    assert money.expected({"a": 0}, "x") == pytest.approx([2.0])


def test_a_whole_type_replaces_what_was_known_and_leaves_others_alone():
    rates, other = RateTable(), RateTable()
    rates.add("a", "x", 5, 50.0, 5)
    rates.add("a", "y", 5, 5.0, 5)
    other.add("b", "x", 3, 3.0, 3)
    kept = rates.to_json(["y"])
    rates.replace(other.to_json(["x", "unknown"]))
    assert rates.to_json(["x"]) == other.to_json()
    assert rates.to_json(["y"]) == kept
    means = rates.columns({"a": 0, "b": 1}, "x").means()
    assert np.array_equal(means, other.columns({"a": 0, "b": 1}, "x").means())


def test_types_that_were_only_looked_at_are_not_written():
    rates = RateTable()
    rates.columns(AGENTS, "x")
    assert rates.to_json() == {}
