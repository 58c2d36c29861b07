"""Agents of a host: work in hand, what was learned, and what changed since it was last written."""

import threading
import time
import tracemalloc
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedcore.fleet.agent_lifecycle import Stage, SuccessRecord
from seedcore.fleet.agent_record import LearnedState
from seedcore.fleet.agent_registry import SLEEP_BATCH, AgentRegistry
from seedcore.pricing.rates import DEFAULT_SECONDS, RateEstimate


@pytest.fixture
def registry() -> AgentRegistry:
    made = AgentRegistry("utility", ["a", "b"])
    made.mark_restored(["a", "b"])
    made.take_changed()
    return made


def changed(registry: AgentRegistry) -> set[str]:
    return {row.id for row in registry.take_changed()}


def learned(count: int, seconds: float = 1.0) -> RateEstimate:
    estimate = RateEstimate()
    estimate.add(count, count * seconds, count)
    return estimate


def test_a_new_host_tells_all_its_agents_once():
    registry = AgentRegistry("utility", ["a", "b"])
    registry.mark_restored(["a", "b"])
    assert changed(registry) == {"a", "b"}
    assert changed(registry) == set()


def test_work_in_hand_counts_from_acceptance_to_its_end(registry: AgentRegistry):
    registry.accept_one("a", "echo")
    registry.accept_one("a", "echo")
    registry.accept_one("a", "shout")
    agent = registry.agents["a"]
    assert (agent.running, agent.queued_s) == (3, pytest.approx(3 * DEFAULT_SECONDS))
    registry.release("a", "echo")
    assert agent.running == 2
    registry.release("a", "echo")
    registry.release("a", "shout")
    assert (agent.running, agent.queued_s, agent.in_hand) == (0, 0, {})


def test_the_seconds_in_hand_follow_what_was_learned(registry: AgentRegistry):
    for _ in range(50):
        registry.record_outcome("a", "echo", 4.0, ok=True)
    registry.accept_one("a", "echo")
    assert registry.agents["a"].queued_s == registry.agents["a"].rates["echo"].mean_seconds() > 3


def test_every_ending_is_counted_and_learned(registry: AgentRegistry):
    registry.record_outcome("a", "echo", 1.0, ok=True)
    registry.record_outcome("a", "echo", 2.0, ok=False)
    agent = registry.agents["a"]
    assert (agent.completed, agent.failed) == (1, 1)
    assert agent.rates["echo"].success() < 1
    assert registry.agents["b"].rates == {}


@pytest.mark.parametrize("event", ["accept_one", "release", "record_outcome"])
def test_each_event_marks_its_agent_as_changed(registry: AgentRegistry, event: str):
    registry.accept_one("a", "echo")
    registry.take_changed()
    if event == "record_outcome":
        registry.record_outcome("a", "echo", 1.0, ok=True)
    else:
        getattr(registry, event)("a", "echo")
    assert changed(registry) == {"a"}
    assert changed(registry) == set()


def test_what_could_not_be_written_is_told_again(registry: AgentRegistry):
    registry.accept_one("a", "echo")
    registry.mark_changed(row.id for row in registry.take_changed())
    assert changed(registry) == {"a"}


def test_a_row_is_what_the_agent_was_when_it_was_taken(registry: AgentRegistry):
    registry.accept_one("a", "echo")
    (row,) = registry.take_changed()
    registry.release("a", "echo")
    registry.record_outcome("a", "echo", 1.0, ok=True)
    assert (row.organ, row.running, row.completed, row.rates) == ("utility", 1, 0, {})


def test_an_agent_that_lived_elsewhere_is_activated_where_it_is_named(registry: AgentRegistry):
    registry.accept_one("elsewhere-7", "echo")
    assert "elsewhere-7" in registry.agents
    assert registry.unrestored() == ["elsewhere-7"]


def test_an_agent_is_not_written_before_it_has_its_memory_back(registry: AgentRegistry):
    registry.accept_one("elsewhere-7", "echo")
    assert changed(registry) == set(), "its row would replace all that it had learned"
    registry.restore("elsewhere-7", LearnedState(completed=10, failed=2, rates={"echo": learned(10)}))
    registry.mark_restored(["elsewhere-7"])
    (row,) = registry.take_changed()
    assert (row.running, row.completed, row.failed) == (1, 10, 2)
    assert registry.unrestored() == []


def test_memory_that_comes_late_is_put_before_what_was_learned_since():
    registry = AgentRegistry("utility", ["a"])
    registry.record_outcome("a", "echo", 1.0, ok=True)
    registry.record_outcome("a", "new", 3.0, ok=False)
    registry.restore("a", LearnedState(completed=10, failed=2, rates={"echo": learned(10, 5.0), "old": learned(1)}))
    agent = registry.agents["a"]
    assert (agent.completed, agent.failed) == (11, 3)
    assert set(agent.rates) == {"echo", "new", "old"}
    one_by_one = learned(10, 5.0)
    one_by_one.add(1, 1.0, 1)
    assert agent.rates["echo"].mean_seconds() == pytest.approx(one_by_one.mean_seconds())


def test_no_change_is_lost_between_the_thread_that_works_and_the_one_that_writes():
    ids = [f"agent-{n}" for n in range(50)]
    registry = AgentRegistry("utility", ids)
    registry.mark_restored(ids)
    last: dict[str, int] = {}
    over = threading.Event()

    def write() -> None:
        while not over.is_set():
            last.update({row.id: row.completed for row in registry.take_changed()})

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for n in range(20_000):
            agent = ids[n % 50]
            registry.accept_one(agent, f"type-{n % 3}")
            registry.release(agent, f"type-{n % 3}")
            registry.record_outcome(agent, f"type-{n % 3}", 0.1, ok=True)
    finally:
        over.set()
        writer.join()
    last.update({row.id: row.completed for row in registry.take_changed()})
    assert last == dict.fromkeys(ids, 400)


def small(**given: Any) -> AgentRegistry:
    """A registry whose agents are idle after ten seconds."""
    return AgentRegistry("utility", **{"idle_s": 10.0, **given})


def write_all(registry: AgentRegistry) -> None:
    registry.mark_restored(registry.unrestored())
    registry.take_changed()


def work(registry: AgentRegistry, agent: str) -> None:
    registry.accept_one(agent, "echo")
    registry.finish(agent, "echo", 0.1, ok=True)


def test_an_idle_agent_is_put_to_sleep_and_the_others_are_not():
    registry = small()
    for agent in ("idle", "busy", "unwritten"):
        work(registry, agent)
    registry.accept_one("busy", "echo")
    write_all(registry)
    registry.record_outcome("unwritten", "echo", 0.1, ok=True)
    later = time.monotonic() + 11
    assert registry.sleep(later - 2) == 0
    assert registry.sleep(later) == 1
    assert set(registry.agents) == {"busy", "unwritten"}
    assert registry.slept == 1


def test_an_agent_without_its_memory_back_stays_awake():
    registry = small()
    registry.activate(["a"])
    assert registry.sleep(time.monotonic() + 100) == 0


def test_an_agent_that_is_named_again_wakes_up_and_asks_for_its_memory():
    registry = small()
    work(registry, "a")
    write_all(registry)
    registry.sleep(time.monotonic() + 11)
    assert "a" not in registry.agents
    work(registry, "a")
    assert registry.unrestored() == ["a"]


def test_over_the_bound_those_that_were_idle_for_longest_sleep_at_once():
    registry = small(capacity=3)
    for n in range(5):
        work(registry, f"a-{n}")
    work(registry, "a-0")
    write_all(registry)
    assert registry.sleep() == 2
    assert set(registry.agents) == {"a-3", "a-4", "a-0"}


def test_busy_agents_at_the_front_do_not_keep_the_idle_ones_awake():
    registry = small(capacity=10)
    for n in range(3 * SLEEP_BATCH):
        registry.accept_one(f"busy-{n}", "echo")
    for n in range(SLEEP_BATCH):
        work(registry, f"idle-{n}")
    write_all(registry)
    for _ in range(10):
        registry.sleep(time.monotonic() + 11)
    assert {agent.split("-")[0] for agent in registry.agents} == {"busy"}


def test_a_hundred_thousand_agents_are_addressable_within_the_bound():
    registry = small(capacity=1000)
    for start in range(0, 100_000, 5000):
        registry.accept((f"a-{n}", "echo") for n in range(start, start + 5000))
        for n in range(start, start + 5000):
            registry.finish(f"a-{n}", "echo", 0.1, ok=True)
        write_all(registry)
        registry.sleep()
        assert len(registry.agents) <= 1000
    assert registry.slept == 99_000


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(["work", "take", "sleep"])), max_size=60))
def test_nothing_that_was_learned_is_lost_in_sleep(steps: list[tuple[str, str]]):
    registry, stored, done = small(capacity=2), {}, Counter()

    def save() -> None:
        for agent in registry.unrestored():
            if agent in stored:
                registry.restore(agent, LearnedState(completed=stored[agent]))
        registry.mark_restored(registry.unrestored())
        stored.update({row.id: row.completed for row in registry.take_changed()})

    for agent, step in steps:
        if step == "work":
            work(registry, agent)
            done[agent] += 1
        elif step == "take":
            save()
        else:
            registry.sleep()
    save()
    assert stored == dict(done)


def test_roles_begin_as_the_organ_says_and_follow_what_the_agent_succeeds_at():
    registry = AgentRegistry("utility", ["a"], role_weights={"reader": 3, "writer": 1})
    registry.mark_restored(["a"])
    (row,) = registry.take_changed()
    assert row.roles == {"reader": 0.75, "writer": 0.25}
    assert row.role_counts is None
    for _ in range(30):
        registry.record_outcome("a", "write", 0.1, ok=True, role="writer")
        registry.record_outcome("a", "read", 0.1, ok=False, role="reader")
        registry.record_outcome("a", "sing", 0.1, ok=True, role="singer")
    (row,) = registry.take_changed()
    assert row.roles is not None
    assert row.roles["writer"] > 0.7
    assert sum(row.roles.values()) == pytest.approx(1)


def test_without_declared_roles_there_are_none(registry: AgentRegistry):
    registry.record_outcome("a", "write", 0.1, ok=True, role="writer")
    (row,) = registry.take_changed()
    assert (row.roles, row.role_counts) == (None, None)


def test_an_agent_is_archived_when_it_fails_where_its_peers_succeed():
    registry = AgentRegistry("utility", ["good", "bad"])
    registry.mark_restored(["good", "bad"])
    for _ in range(100):
        for _ in range(9):
            registry.record_outcome("good", "echo", 0.1, ok=True)
        registry.record_outcome("bad", "echo", 0.1, ok=False)
    stages = {row.id: row.lifecycle for row in registry.take_changed()}
    assert stages == {"good": "employed", "bad": "archived"}


def test_where_all_agents_fail_none_is_archived():
    registry = AgentRegistry("utility", ["a", "b"])
    registry.mark_restored(["a", "b"])
    for _ in range(300):
        registry.record_outcome("a", "echo", 0.1, ok=False)
        registry.record_outcome("b", "echo", 0.1, ok=False)
    assert {row.lifecycle for row in registry.take_changed()} == {"employed"}


def test_an_archived_agent_that_wakes_up_is_still_archived_until_it_is_pardoned():
    record = LearnedState(stage=Stage.ARCHIVED, record=SuccessRecord(50, 5, 50), failed=45)
    registry = small()
    work(registry, "a")
    registry.restore("a", record)
    registry.mark_restored(["a"])
    (row,) = registry.take_changed()
    assert (row.lifecycle, row.failed) == ("archived", 45)
    registry.re_employ(["a"])
    (row,) = registry.take_changed()
    assert (row.lifecycle, row.standing, row.failed) == ("scout", None, 45)


def test_a_pardon_of_a_sleeping_agent_holds_when_its_memory_comes():
    registry = small()
    registry.re_employ(["a"])
    registry.restore("a", LearnedState(stage=Stage.ARCHIVED, record=SuccessRecord(50, 5, 50), failed=45))
    registry.mark_restored(["a"])
    (row,) = registry.take_changed()
    assert (row.lifecycle, row.standing, row.failed) == ("scout", None, 45)


def test_the_first_thing_that_an_agent_stores_is_told_once(registry: AgentRegistry):
    registry.set_memory_scope("a", "a")
    (row,) = registry.take_changed()
    assert row.memory == "a"
    registry.set_memory_scope("a", "a")
    assert registry.take_changed() == []


def test_an_idle_agent_takes_at_most_four_kilobytes():
    tracemalloc.start()
    try:
        registry = AgentRegistry("utility", role_weights={"reader": 1, "writer": 1})
        before = tracemalloc.get_traced_memory()[0]
        for n in range(2000):
            for kind in ("read", "write", "count"):
                registry.accept_one(f"a-{n}", kind)
                registry.finish(f"a-{n}", kind, 0.1 + n, ok=True, role="reader")
        write_all(registry)
        each = (tracemalloc.get_traced_memory()[0] - before) / 2000
    finally:
        tracemalloc.stop()
    assert each <= 4096
