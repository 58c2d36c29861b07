"""Learned rates: they forget, and shrink to what is known in general while little is known in particular."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedcore.pricing.rates import DEFAULT_SECONDS, FORGET, PRIOR_WEIGHT, RateEstimate, RateTable

BATCHES = st.lists(
    st.integers(1, 500).flatmap(lambda n: st.tuples(st.just(n), st.floats(0, 100), st.integers(0, n))), max_size=20
)


def learned(*batches: tuple[int, float, int]) -> RateEstimate:
    estimate = RateEstimate()
    for count, mean_s, successes in batches:
        estimate.add(count, count * mean_s, successes)
    return estimate


def test_nothing_known_is_the_prior():
    assert RateEstimate().mean_seconds() == DEFAULT_SECONDS
    assert RateEstimate().mean_seconds(3.0) == 3.0
    assert RateEstimate().success() == 1.0
    assert RateEstimate().success(0.7) == 0.7


@given(BATCHES)
def test_an_estimate_lies_between_the_prior_and_what_was_seen(batches: list[tuple[int, float, int]]):
    estimate = learned(*batches)
    seen = [mean for _, mean, _ in batches]
    low, high = min([2.0, *seen]), max([2.0, *seen])
    assert low - 1e-9 <= estimate.mean_seconds(2.0) <= high + 1e-9 * high
    assert -1e-9 <= estimate.success(0.9) <= 1 + 1e-9


@given(st.floats(0.001, 100), st.integers(1, 200))
def test_more_outcomes_draw_it_away_from_the_prior(mean_s: float, count: int):
    few, many = learned((count, mean_s, count)), learned((count, mean_s, count), (count, mean_s, count))
    assert abs(many.mean_seconds(1.0) - mean_s) <= abs(few.mean_seconds(1.0) - mean_s) + 1e-9


def test_one_outcome_weighs_little_against_the_prior():
    estimate = learned((1, 10.0, 0))
    assert estimate.mean_seconds(1.0) == pytest.approx((10 + PRIOR_WEIGHT) / (1 + PRIOR_WEIGHT))
    assert estimate.success(1.0) == pytest.approx(PRIOR_WEIGHT / (1 + PRIOR_WEIGHT))


@given(BATCHES)
def test_the_memory_is_bounded_however_outcomes_are_batched(batches: list[tuple[int, float, int]]):
    assert learned(*batches).weight <= 1 / (1 - FORGET) + 1e-6


@given(st.integers(1, 100), st.floats(0.001, 10))
def test_a_batch_of_equal_outcomes_counts_as_they_would_one_by_one(count: int, mean_s: float):
    together, single = learned((count, mean_s, count)), learned(*[(1, mean_s, 1)] * count)
    assert together.weight == pytest.approx(single.weight)
    assert together.seconds == pytest.approx(single.seconds)
    assert together.successes == pytest.approx(single.successes)


def test_the_past_is_forgotten():
    estimate = learned((50, 10.0, 50))
    assert estimate.mean_seconds() > 8
    for _ in range(300):
        estimate.add(1, 0.1, 0)
    assert estimate.mean_seconds() == pytest.approx(0.1, abs=0.05)
    assert estimate.success() < 0.1


def test_an_unknown_type_costs_the_default_everywhere():
    table = RateTable()
    assert table.seconds("a", "echo") == table.type_seconds("echo") == DEFAULT_SECONDS
    assert table.success("a", "echo") == 1.0


def test_an_agent_that_is_new_to_a_type_is_taken_for_an_average_one():
    table = RateTable()
    table.add("a", "echo", 40, 40 * 2.0, 20)
    assert table.seconds("b", "echo") == table.type_seconds("echo") > 1.5
    assert table.success("b", "echo") == table.success("c", "echo") < 0.6


def test_an_agents_own_speed_shows_with_its_outcomes():
    table = RateTable()
    for _ in range(20):
        table.add("slow", "echo", 1, 4.0, 1)
        table.add("fast", "echo", 1, 1.0, 1)
    assert table.seconds("fast", "echo") < table.type_seconds("echo") < table.seconds("slow", "echo")


def test_types_do_not_mix():
    table = RateTable()
    table.add("a", "slow", 40, 400.0, 0)
    assert table.seconds("a", "echo") == DEFAULT_SECONDS
    assert table.success("a", "echo") == 1.0


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), st.floats(0, 10), st.booleans()), max_size=60))
def test_success_stays_a_share_and_seconds_stay_positive(outcomes: list[tuple[str, str, float, bool]]):
    table = RateTable()
    for agent, task_type, seconds, ok in outcomes:
        table.add(agent, task_type, 1, seconds, int(ok))
    for agent in "abc":
        for task_type in "xyz":
            assert 0 <= table.success(agent, task_type) <= 1
            assert table.seconds(agent, task_type) > 0


def test_an_agent_shrinks_to_its_organ_and_the_organ_to_the_type():
    table = RateTable()
    for _ in range(30):
        table.add("a", "echo", 1, 4.0, 1, "slow")
        table.add("b", "echo", 1, 1.0, 1, "fast")
    overall = table.type_seconds("echo", "elsewhere")
    assert table.seconds("new", "echo", "fast") < overall < table.seconds("new", "echo", "slow")
    assert table.seconds("new", "echo", "elsewhere") == overall


def test_a_change_is_noticed_within_a_few_outcomes_and_a_steady_rate_is_remembered_for_long():
    table = RateTable()
    for _ in range(300):
        table.add("a", "echo", 1, 1.0, 1)
    table.add("a", "echo", 1, 1.6, 1)
    assert table.seconds("a", "echo") < 1.05
    for _ in range(8):
        table.add("a", "echo", 1, 10.0, 1)
    assert table.seconds("a", "echo") > 5


def test_one_that_begins_to_fail_is_noticed_within_a_few_outcomes():
    table = RateTable()
    for _ in range(300):
        table.add("a", "echo", 1, 1.0, 1)
    for _ in range(10):
        table.add("a", "echo", 1, 1.0, 0)
    assert table.success("a", "echo") < 0.5


def test_an_agent_that_was_slow_once_is_tried_again_as_others_do_the_type():
    table = RateTable()
    for n in range(100):
        table.add("once_slow", "echo", 1, 1.0 if n < 80 else 10.0, 1)
        table.add("other", "echo", 1, 1.0, 1)
    assert table.seconds("once_slow", "echo") > 5
    for _ in range(1500):
        table.add("other", "echo", 1, 1.0, 1)
    assert table.seconds("once_slow", "echo") < 1.5


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 9), st.floats(0, 10), st.booleans()), max_size=40))
def test_columns_know_what_the_table_knows(outcomes: list[tuple[str, int, float, bool]]):
    table, rows = RateTable(), {"a": 0, "b": 1}
    early = table.columns(rows, "x", "o")
    for agent, count, seconds, ok in outcomes:
        table.add(agent, "x", count, count * seconds, count * ok, "o")
        if agent in rows:
            early.write(rows[agent], agent)
    for columns in (early, table.columns(rows, "x", "o")):
        seconds, success = columns.means()
        for agent, row in rows.items():
            assert seconds[row] == pytest.approx(table.seconds(agent, "x", "o"))
            assert success[row] == pytest.approx(table.success(agent, "x", "o"))
