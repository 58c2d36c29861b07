"""Agents of a host: work in hand, what was learned, and what changed since it was last written."""

import threading

import pytest

from seedcore.energy.rates import DEFAULT_SECONDS, RateEstimate
from seedcore.organism.agents import AgentBook


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
    assert book.agents["elsewhere-7"].organ == "utility"
    assert book.unrestored() == ["elsewhere-7"]


def test_an_agent_is_not_written_before_it_has_its_memory_back(book: AgentBook):
    book.accepted("elsewhere-7", "echo")
    assert changed(book) == set(), "its row would replace all that it had learned"
    book.restore("elsewhere-7", 10, 2, {"echo": learned(10)})
    book.mark_restored(["elsewhere-7"])
    (row,) = book.take_changed()
    assert (row.running, row.completed, row.failed) == (1, 10, 2)
    assert book.unrestored() == []


def test_memory_that_comes_late_is_put_before_what_was_learned_since():
    book = AgentBook("utility", ["a"])
    book.learned("a", "echo", 1.0, ok=True)
    book.learned("a", "new", 3.0, ok=False)
    book.restore("a", 10, 2, {"echo": learned(10, 5.0), "old": learned(1)})
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
