"""Agents of a host: work in hand, what was learned, and what changed since it was last written."""

import threading
import time
import tracemalloc
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedcore.fleet.agent_lifecycle import Stage, Standing
from seedcore.fleet.agent_registry import SWEEP, AgentBook, Learned
from seedcore.pricing.rates import DEFAULT_SECONDS, RateEstimate


@pytest.fixture
def book() -> AgentBook:
    made = AgentBook("utility", ["a", "b"])
    made.mark_restored(["a", "b"])
    made.take_changed()
    return made


def changed(book: AgentBook) -> set[str]:
    return {row.id for row in book.take_changed()}


def learned(count: int, seconds: float = 1.0) -> RateEstimate:
    estimate = RateEstimate()
    estimate.add(count, count * seconds, count)
    return estimate


def test_a_new_host_tells_all_its_agents_once():
    book = AgentBook("utility", ["a", "b"])
    book.mark_restored(["a", "b"])
    assert changed(book) == {"a", "b"}
    assert changed(book) == set()


def test_work_in_hand_counts_from_acceptance_to_its_end(book: AgentBook):
    book.accepted("a", "echo")
    book.accepted("a", "echo")
    book.accepted("a", "shout")
    agent = book.agents["a"]
    assert (agent.running, agent.queued_s) == (3, pytest.approx(3 * DEFAULT_SECONDS))
    book.left("a", "echo")
    assert agent.running == 2
    book.left("a", "echo")
    book.left("a", "shout")
    assert (agent.running, agent.queued_s, agent.in_hand) == (0, 0, {})


def test_the_seconds_in_hand_follow_what_was_learned(book: AgentBook):
    for _ in range(50):
        book.learned("a", "echo", 4.0, ok=True)
    book.accepted("a", "echo")
    assert book.agents["a"].queued_s == book.agents["a"].rates["echo"].mean_seconds() > 3


def test_every_ending_is_counted_and_learned(book: AgentBook):
    book.learned("a", "echo", 1.0, ok=True)
    book.learned("a", "echo", 2.0, ok=False)
    agent = book.agents["a"]
    assert (agent.completed, agent.failed) == (1, 1)
    assert agent.rates["echo"].success() < 1
    assert book.agents["b"].rates == {}


@pytest.mark.parametrize("event", ["accepted", "left", "learned"])
def test_each_event_marks_its_agent_as_changed(book: AgentBook, event: str):
    book.accepted("a", "echo")
    book.take_changed()
    if event == "learned":
        book.learned("a", "echo", 1.0, ok=True)
    else:
        getattr(book, event)("a", "echo")
    assert changed(book) == {"a"}
    assert changed(book) == set()


def test_what_could_not_be_written_is_told_again(book: AgentBook):
    book.accepted("a", "echo")
    book.mark_changed(row.id for row in book.take_changed())
    assert changed(book) == {"a"}


def test_a_row_is_what_the_agent_was_when_it_was_taken(book: AgentBook):
    book.accepted("a", "echo")
    (row,) = book.take_changed()
    book.left("a", "echo")
    book.learned("a", "echo", 1.0, ok=True)
    assert (row.organ, row.running, row.completed, row.rates) == ("utility", 1, 0, {})


def test_an_agent_that_lived_elsewhere_is_activated_where_it_is_named(book: AgentBook):
    book.accepted("elsewhere-7", "echo")
    assert "elsewhere-7" in book.agents
    assert book.unrestored() == ["elsewhere-7"]


def test_an_agent_is_not_written_before_it_has_its_memory_back(book: AgentBook):
    book.accepted("elsewhere-7", "echo")
    assert changed(book) == set(), "its row would replace all that it had learned"
    book.restore("elsewhere-7", Learned(completed=10, failed=2, rates={"echo": learned(10)}))
    book.mark_restored(["elsewhere-7"])
    (row,) = book.take_changed()
    assert (row.running, row.completed, row.failed) == (1, 10, 2)
    assert book.unrestored() == []


def test_memory_that_comes_late_is_put_before_what_was_learned_since():
    book = AgentBook("utility", ["a"])
    book.learned("a", "echo", 1.0, ok=True)
    book.learned("a", "new", 3.0, ok=False)
    book.restore("a", Learned(completed=10, failed=2, rates={"echo": learned(10, 5.0), "old": learned(1)}))
    agent = book.agents["a"]
    assert (agent.completed, agent.failed) == (11, 3)
    assert set(agent.rates) == {"echo", "new", "old"}
    one_by_one = learned(10, 5.0)
    one_by_one.add(1, 1.0, 1)
    assert agent.rates["echo"].mean_seconds() == pytest.approx(one_by_one.mean_seconds())


def test_no_change_is_lost_between_the_thread_that_works_and_the_one_that_writes():
    ids = [f"agent-{n}" for n in range(50)]
    book = AgentBook("utility", ids)
    book.mark_restored(ids)
    last: dict[str, int] = {}
    over = threading.Event()

    def write() -> None:
        while not over.is_set():
            last.update({row.id: row.completed for row in book.take_changed()})

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for n in range(20_000):
            agent = ids[n % 50]
            book.accepted(agent, f"type-{n % 3}")
            book.left(agent, f"type-{n % 3}")
            book.learned(agent, f"type-{n % 3}", 0.1, ok=True)
    finally:
        over.set()
        writer.join()
    last.update({row.id: row.completed for row in book.take_changed()})
    assert last == dict.fromkeys(ids, 400)


# -- activation and sleep ----------------------------------------------------------------------------------


def small(**given: Any) -> AgentBook:
    """A book whose agents are idle after ten seconds."""
    return AgentBook("utility", **{"idle_s": 10.0, **given})


def write_all(book: AgentBook) -> None:
    book.mark_restored(book.unrestored())
    book.take_changed()


def work(book: AgentBook, agent: str) -> None:
    book.accepted(agent, "echo")
    book.ended(agent, "echo", 0.1, ok=True)


def test_an_idle_agent_is_put_to_sleep_and_the_others_are_not():
    book = small()
    for agent in ("idle", "busy", "unwritten"):
        work(book, agent)
    book.accepted("busy", "echo")
    write_all(book)
    book.learned("unwritten", "echo", 0.1, ok=True)
    later = time.monotonic() + 11
    assert book.sleep(later - 2) == 0
    assert book.sleep(later) == 1
    assert set(book.agents) == {"busy", "unwritten"}
    assert book.slept == 1


def test_an_agent_without_its_memory_back_stays_awake():
    book = small()
    book.activate(["a"])
    assert book.sleep(time.monotonic() + 100) == 0


def test_an_agent_that_is_named_again_wakes_up_and_asks_for_its_memory():
    book = small()
    work(book, "a")
    write_all(book)
    book.sleep(time.monotonic() + 11)
    assert "a" not in book.agents
    work(book, "a")
    assert book.unrestored() == ["a"]


def test_over_the_bound_those_that_were_idle_for_longest_sleep_at_once():
    book = small(most=3)
    for n in range(5):
        work(book, f"a-{n}")
    work(book, "a-0")
    write_all(book)
    assert book.sleep() == 2
    assert set(book.agents) == {"a-3", "a-4", "a-0"}


def test_busy_agents_at_the_front_do_not_keep_the_idle_ones_awake():
    book = small(most=10)
    for n in range(3 * SWEEP):
        book.accepted(f"busy-{n}", "echo")
    for n in range(SWEEP):
        work(book, f"idle-{n}")
    write_all(book)
    for _ in range(10):
        book.sleep(time.monotonic() + 11)
    assert {agent.split("-")[0] for agent in book.agents} == {"busy"}


def test_a_hundred_thousand_agents_are_addressable_within_the_bound():
    book = small(most=1000)
    for start in range(0, 100_000, 5000):
        book.accept((f"a-{n}", "echo") for n in range(start, start + 5000))
        for n in range(start, start + 5000):
            book.ended(f"a-{n}", "echo", 0.1, ok=True)
        write_all(book)
        book.sleep()
        assert len(book.agents) <= 1000
    assert book.slept == 99_000


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(["work", "take", "sleep"])), max_size=60))
def test_nothing_that_was_learned_is_lost_in_sleep(steps: list[tuple[str, str]]):
    book, stored, done = small(most=2), {}, Counter()

    def save() -> None:
        for agent in book.unrestored():
            if agent in stored:
                book.restore(agent, Learned(completed=stored[agent]))
        book.mark_restored(book.unrestored())
        stored.update({row.id: row.completed for row in book.take_changed()})

    for agent, step in steps:
        if step == "work":
            work(book, agent)
            done[agent] += 1
        elif step == "take":
            save()
        else:
            book.sleep()
    save()
    assert stored == dict(done)


# -- roles, stages, memory ---------------------------------------------------------------------------------


def test_roles_begin_as_the_organ_says_and_follow_what_the_agent_succeeds_at():
    book = AgentBook("utility", ["a"], role_weights={"reader": 3, "writer": 1})
    book.mark_restored(["a"])
    (row,) = book.take_changed()
    assert row.roles == {"reader": 0.75, "writer": 0.25}
    assert row.role_counts is None
    for _ in range(30):
        book.learned("a", "write", 0.1, ok=True, role="writer")
        book.learned("a", "read", 0.1, ok=False, role="reader")
        book.learned("a", "sing", 0.1, ok=True, role="singer")
    (row,) = book.take_changed()
    assert row.roles is not None
    assert row.roles["writer"] > 0.7
    assert sum(row.roles.values()) == pytest.approx(1)


def test_without_declared_roles_there_are_none(book: AgentBook):
    book.learned("a", "write", 0.1, ok=True, role="writer")
    (row,) = book.take_changed()
    assert (row.roles, row.role_counts) == (None, None)


def test_an_agent_is_archived_when_it_fails_where_its_peers_succeed():
    book = AgentBook("utility", ["good", "bad"])
    book.mark_restored(["good", "bad"])
    for _ in range(100):
        for _ in range(9):
            book.learned("good", "echo", 0.1, ok=True)
        book.learned("bad", "echo", 0.1, ok=False)
    stages = {row.id: row.lifecycle for row in book.take_changed()}
    assert stages == {"good": "employed", "bad": "archived"}


def test_where_all_agents_fail_none_is_archived():
    book = AgentBook("utility", ["a", "b"])
    book.mark_restored(["a", "b"])
    for _ in range(300):
        book.learned("a", "echo", 0.1, ok=False)
        book.learned("b", "echo", 0.1, ok=False)
    assert {row.lifecycle for row in book.take_changed()} == {"employed"}


def test_an_archived_agent_that_wakes_up_is_still_archived_until_it_is_pardoned():
    record = Learned(stage=Stage.ARCHIVED, standing=Standing(50, 5, 50), failed=45)
    book = small()
    work(book, "a")
    book.restore("a", record)
    book.mark_restored(["a"])
    (row,) = book.take_changed()
    assert (row.lifecycle, row.failed) == ("archived", 45)
    book.pardon(["a"])
    (row,) = book.take_changed()
    assert (row.lifecycle, row.standing, row.failed) == ("scout", None, 45)


def test_a_pardon_of_a_sleeping_agent_holds_when_its_memory_comes():
    book = small()
    book.pardon(["a"])
    book.restore("a", Learned(stage=Stage.ARCHIVED, standing=Standing(50, 5, 50), failed=45))
    book.mark_restored(["a"])
    (row,) = book.take_changed()
    assert (row.lifecycle, row.standing, row.failed) == ("scout", None, 45)


def test_the_first_thing_that_an_agent_stores_is_told_once(book: AgentBook):
    book.has_memory("a", "a")
    (row,) = book.take_changed()
    assert row.memory == "a"
    book.has_memory("a", "a")
    assert book.take_changed() == []


def test_an_idle_agent_takes_at_most_four_kilobytes():
    tracemalloc.start()
    try:
        book = AgentBook("utility", role_weights={"reader": 1, "writer": 1})
        before = tracemalloc.get_traced_memory()[0]
        for n in range(2000):
            for kind in ("read", "write", "count"):
                book.accepted(f"a-{n}", kind)
                book.ended(f"a-{n}", kind, 0.1 + n, ok=True, role="reader")
        write_all(book)
        each = (tracemalloc.get_traced_memory()[0] - before) / 2000
    finally:
        tracemalloc.stop()
    assert each <= 4096
