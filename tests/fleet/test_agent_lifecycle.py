"""Scout, employed, archived: from measured success, and never to and fro."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedcore.fleet.agent_lifecycle import (
    ARCHIVE_BELOW,
    BACK_ABOVE,
    MIN_OUTCOMES,
    Stage,
    SuccessRecord,
    next_stage,
    wilson,
)

RANK = {Stage.ARCHIVED: 0, Stage.SCOUT: 1, Stage.EMPLOYED: 1}
STAGES = st.sampled_from(Stage)
SHARES = st.floats(0, 1)


def standing(outcomes: float, success: float, peers: float = 1.0) -> SuccessRecord:
    return SuccessRecord(outcomes, outcomes * success, outcomes * peers)


def after(outcomes: int, *, every: int, peers: float = 1.0) -> list[Stage]:
    """The stages of an agent that fails at every `every`th task."""
    stage, record, stages = Stage.SCOUT, SuccessRecord(), []
    for n in range(outcomes):
        record.add(ok=n % every != every - 1, peers=peers)
        stage = next_stage(stage, record)
        stages.append(stage)
    return stages


def test_an_agent_that_succeeds_is_a_scout_and_then_employed_for_good():
    stages = after(200, every=10**9)
    employed = stages.index(Stage.EMPLOYED)
    assert MIN_OUTCOMES <= employed + 1 <= 2 * MIN_OUTCOMES
    assert set(stages[:employed]) == {Stage.SCOUT}
    assert set(stages[employed:]) == {Stage.EMPLOYED}


def test_an_agent_that_fails_where_its_peers_succeed_is_archived():
    assert after(100, every=1)[-1] is Stage.ARCHIVED


def test_where_all_fail_nobody_is_archived():
    assert after(500, every=1, peers=0.0)[-1] is Stage.EMPLOYED
    assert after(500, every=2, peers=0.5)[-1] is Stage.EMPLOYED


def test_an_archived_agent_comes_back_only_when_it_is_clearly_good_again():
    between = standing(50, (ARCHIVE_BELOW + BACK_ABOVE) / 2)
    assert next_stage(Stage.ARCHIVED, between) is Stage.ARCHIVED
    assert next_stage(Stage.EMPLOYED, between) is Stage.EMPLOYED
    assert next_stage(Stage.ARCHIVED, standing(50, 1.0)) is Stage.EMPLOYED


def test_a_clean_record_does_not_bring_an_archived_agent_back():
    assert next_stage(Stage.ARCHIVED, SuccessRecord()) is Stage.ARCHIVED


@given(STAGES, st.floats(0, MIN_OUTCOMES, exclude_max=True), SHARES)
def test_too_few_outcomes_change_nothing(stage: Stage, outcomes: float, success: float):
    assert next_stage(stage, standing(outcomes, success)) is stage


@given(STAGES, st.floats(0.1, 50), SHARES, SHARES)
def test_at_constant_success_a_stage_is_reached_and_kept(stage: Stage, outcomes: float, success: float, peers: float):
    record = standing(outcomes, success, peers)
    reached = next_stage(stage, record)
    assert next_stage(reached, record) is reached


@given(STAGES, st.floats(0, 1), st.floats(0, 1))
def test_at_constant_success_the_stage_changes_twice_at_most(stage: Stage, success: float, peers: float):
    record, changes = SuccessRecord(), 0
    for _ in range(300):
        # What a constant success rate comes to: each outcome adds its share.
        record.outcomes = record.outcomes * 0.98 + 1
        record.successes, record.expected = record.outcomes * success, record.outcomes * peers
        following = next_stage(stage, record)
        changes += following is not stage
        stage = following
    assert changes <= 2


@given(STAGES, st.floats(0.1, 50), SHARES, SHARES, SHARES)
def test_more_successes_never_lead_to_a_worse_stage(stage: Stage, outcomes: float, a: float, b: float, peers: float):
    fewer, more = sorted((a, b))
    worse, better = (next_stage(stage, standing(outcomes, share, peers)) for share in (fewer, more))
    assert RANK[worse] <= RANK[better]


@given(st.floats(0.1, 1000), SHARES)
def test_the_interval_holds_the_rate_and_narrows_with_outcomes(outcomes: float, rate: float):
    low, high = wilson(outcomes * rate, outcomes)
    assert 0 <= low <= rate + 1e-12
    assert rate - 1e-12 <= high <= 1
    wider = wilson(outcomes * rate / 2, outcomes / 2)
    assert high - low <= wider[1] - wider[0] + 1e-12


def test_the_interval_is_the_published_one():
    # Agresti and Coull 1998: 2 successes in 10.
    assert wilson(2, 10) == pytest.approx((0.0567, 0.5098), abs=1e-3)


@given(st.lists(st.booleans(), max_size=40), st.lists(st.booleans(), max_size=40))
def test_a_record_that_comes_late_is_put_before_what_came_since(earlier: list[bool], later: list[bool]):
    whole, first, second = SuccessRecord(), SuccessRecord(), SuccessRecord()
    for ok in earlier:
        first.add(ok=ok, peers=0.5)
    for ok in later:
        second.add(ok=ok, peers=0.5)
    for ok in earlier + later:
        whole.add(ok=ok, peers=0.5)
    second.merge_earlier(first)
    assert (second.outcomes, second.successes) == pytest.approx((whole.outcomes, whole.successes))
    assert second.expected == pytest.approx(whole.expected)
