"""Which answers a worker adopts, and which it ignores: torn, old, of another version or Coordinator."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedcore.errors import UnavailableError
from seedcore.schemas.snapshot import SNAPSHOT_FORMAT
from seedcore.worker.decisions.report_collector import ReportCollector
from seedcore.worker.decisions.snapshot_state import SnapshotState
from tests.worker.decisions.snapshots import stored, table, update, whole_parts
from tests.worker.decisions.test_report_collector import completion


def state() -> SnapshotState:
    return SnapshotState("w-0", 1.0)


def test_without_a_snapshot_nothing_is_decided():
    with pytest.raises(UnavailableError, match="no snapshot"):
        state().context(0)


def test_a_whole_snapshot_is_all_that_a_decision_needs():
    known = state()
    assert known.apply(update(parts=whole_parts(streams={"echo": ("open", 0.9, 0.9, None, True)}, v=2.5)), [])
    context = known.context(7)
    assert context.policy.rules[0].name == "loud"
    assert (context.plans_per_minute, known.v) == (7, 2.5)
    assert context.monitors.status((None, "echo")).shifted
    assert context.monitors.status((None, "other")).state == "unwatched"
    assert (known.source, known.generation, known.version) == ("coordinator", 1, 1)
    assert known.age_s is not None
    assert known.age_s < 5


def test_a_change_changes_what_it_names_and_nothing_else():
    known = state()
    known.apply(update(parts=whole_parts(streams={"echo": ("closed", 0.1, None, None, False)})), [])
    known.apply(update(2, {"streams": {"b": ("learning", None, None, None, False)}, "v": 3.0}, whole=False), [])
    assert set(known.streams.statuses) == {"echo", "b"}
    assert (known.v, known.fleet.epoch, known.version) == (3.0, 1, 2)


def test_salience_is_merged_by_stream_and_a_null_ends_one():
    known = state()
    known.apply(update(parts=whole_parts(salience={"a": 0.5, "b": 0.25})), [])
    known.apply(update(2, {"salience": {"b": None, "c": 0.75}}, whole=False), [])
    assert known.context(0).salience == {"a": 0.5, "c": 0.75}
    known.apply(update(3, {"v": 2.0}, whole=False), [])
    assert known.context(0).salience == {"a": 0.5, "c": 0.75}


def test_a_snapshot_of_a_release_without_salience_leaves_it_to_the_formula():
    known = state()
    known.apply(update(parts=whole_parts(salience={"a": 0.5})), [])
    assert known.apply(update(7, generation=2), [])
    assert known.context(0).salience == {}
    fresh = state()
    assert fresh.load(stored(), 1.0)
    assert fresh.context(0).salience == {}


@pytest.mark.parametrize(
    "other",
    [
        update(3, whole=False, generation=1),
        update(9, generation=1),
        update(9, whole=False, generation=3),
        update(9, generation=3, format=SNAPSHOT_FORMAT + 1),
    ],
    ids=["an earlier Coordinator's change", "an earlier Coordinator's whole", "a change of another", "another format"],
)
def test_an_answer_that_does_not_fit_is_ignored_and_counted(other: Any):
    known = state()
    known.apply(update(5, generation=2), [])
    assert not known.apply(other, [])
    assert (known.generation, known.version, known.counts["ignored_updates"]) == (2, 5, 1)


def test_a_later_coordinator_is_believed_whatever_its_version():
    known = state()
    known.apply(update(5, generation=2), [])
    assert known.apply(update(1, whole_parts(routing=table(9)), generation=3), [])
    assert (known.generation, known.version, known.fleet.epoch) == (3, 1, 9)


def test_what_others_learned_adds_to_what_is_known_and_own_outcomes_count_on_top_of_a_whole():
    known, reports = state(), ReportCollector()
    known.apply(update(), [])
    learned = [{"agent": "a-1", "type": "echo", "count": 3, "seconds": 6.0, "successes": 3, "money": 1.5, "paid": 3}]
    known.apply(update(2, {}, whole=False, learned=learned), [])
    estimate = known.fleet.rates.estimate("a-1", "echo")
    assert estimate is not None
    assert estimate.mean_seconds(2.0) == pytest.approx(2.0)
    assert known.fleet.money_rates.expected({"a-1": 0}, "echo") == pytest.approx([0.5])
    reports.record_completion(completion(agent="a-0"))
    known.apply(update(3), reports.unheard())
    assert known.fleet.rates.estimate("a-1", "echo") is None
    assert known.fleet.rates.estimate("a-0", "echo") is not None


def test_a_hold_ends_by_itself():
    known = state()
    holds = {
        "echo": {"until": time.time() + 60, "reason": "r", "wait_s": None},
        "old": {"until": time.time() - 1, "reason": "r", "wait_s": None},
    }
    known.apply(update(parts=whole_parts(holds=holds)), [])
    assert known.streams.of("echo") is not None
    assert known.streams.of("old") is None


def test_a_policy_that_this_release_cannot_read_leaves_the_one_before_in_force():
    known = state()
    known.apply(update(), [])
    newer = {"source": "s", "text": "rules: []\nnew_field: 1", "version": "new"}
    known.apply(update(2, {"policy": newer}, whole=False), [])
    assert known.context(0).policy.rules[0].name == "loud"


def test_without_a_policy_nothing_is_decided():
    known = state()
    known.apply(update(parts=whole_parts() | {"policy": None}), [])
    with pytest.raises(UnavailableError, match="no policy"):
        known.context(0)


def test_a_stored_snapshot_serves_until_a_coordinator_answers_and_says_its_age():
    known = state()
    assert known.load(stored(7, generation=3), age_s=90.0)
    assert (known.source, known.version) == ("database", 0)
    assert known.stale_s == pytest.approx(90, abs=5)
    assert known.context(0).policy.rules
    assert not known.load(stored(8, generation=3), age_s=1.0)
    assert not known.apply(update(9, generation=2), [])
    assert known.apply(update(1, generation=3), [])
    assert known.stale_s is None


def test_a_stored_snapshot_of_another_format_is_not_read():
    known = state()
    assert not known.load(stored(format=SNAPSHOT_FORMAT + 1), age_s=1.0)
    assert known.source is None


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 6), st.booleans()), max_size=30))
def test_whatever_order_answers_come_in_generations_never_go_back(answers: list[tuple[int, int, bool]]):
    known = state()
    for generation, version, whole in answers:
        before = known.generation, known.version
        adopted = known.apply(update(version, generation=generation, whole=whole), [])
        after = known.generation, known.version
        assert after >= before or (adopted and whole and generation == before[0])
        assert adopted or after == before
