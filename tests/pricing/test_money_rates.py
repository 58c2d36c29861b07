"""Money by agent and type: learned from what was reported, unknown before."""

import pytest

from seedcore.pricing.money_rates import MoneyRates

PLACE = {"a": 0, "b": 1, "c": 2}


def test_money_that_was_not_reported_is_unknown():
    spending = MoneyRates()
    spending.add("a", "echo", 1, 2.0)
    assert spending.expected(PLACE, "other") is None


def test_an_agent_is_taken_for_an_average_one_until_it_has_reported_itself():
    spending = MoneyRates()
    spending.add("a", "echo", 50, 100.0)
    spending.add("b", "echo", 50, 300.0)
    cheap, dear, unknown = spending.expected(PLACE, "echo")
    assert cheap == pytest.approx(2.0, rel=0.1)
    assert dear == pytest.approx(6.0, rel=0.1)
    assert cheap < unknown < dear


def test_agents_of_other_teams_count_for_the_mean_alone():
    spending = MoneyRates()
    spending.add("elsewhere", "echo", 1, 3.0)
    assert spending.expected(PLACE, "echo").tolist() == [3.0, 3.0, 3.0]
