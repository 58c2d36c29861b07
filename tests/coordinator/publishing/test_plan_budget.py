"""The budget of plans: no more than N a minute over all workers whatever is lost or repeated, and hardly fewer."""

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass, field

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from seedcore.coordinator.publishing.plan_budget import MINUTE_S, SILENT_S, TURNS_S, PlanBudget
from seedcore.coordinator.publishing.report_sessions import ReportSessions
from seedcore.pricing.plan_allowance import MAX_LENT, USABLE_S, PlanAllowance
from seedcore.schemas.snapshot import PlanShare


@dataclass
class Attempt:
    """One sending of a report; `answer` is what the Coordinator said to it, some time after it `arrived`."""

    session: str
    number: int
    plans: int
    wanted: int
    sent_at: float
    arrived: bool = False
    answer: PlanShare | None = None


@dataclass
class Worker:
    name: str
    session: int = 1
    number: int = 0
    allowance: PlanAllowance = field(default_factory=PlanAllowance)
    attempt: Attempt | None = None


class Coordinator:
    """The budget as the exchange uses it."""

    def __init__(self, clock) -> None:
        self.budget, self.sessions = PlanBudget(clock), ReportSessions(clock)

    def hear(self, worker: str, attempt: Attempt) -> None:
        attempt.arrived = True
        if self.sessions.hear(worker, attempt.session, attempt.number):
            self.budget.report((worker, attempt.session), attempt.plans, attempt.wanted)

    def answer(self, worker: str, attempt: Attempt) -> PlanShare:
        attempt.answer = self.budget.answer((worker, attempt.session))
        return attempt.answer


class Workers(RuleBasedStateMachine):
    """1 to 4 workers that plan as often as they may, over a network that loses, repeats and delays."""

    @initialize(limit=st.integers(1, 45), count=st.sampled_from([2, 3, 4, 1]))
    def start(self, limit: int, count: int) -> None:
        self.now, self.limit = 1_000.0, limit
        self.coordinator = Coordinator(lambda: self.now)
        self.workers = [Worker(f"w{n}") for n in range(count)]
        self.started: deque[float] = deque()
        self.old: list[tuple[str, Attempt]] = []

    def _worker(self, n: int) -> Worker:
        return self.workers[n % len(self.workers)]

    @rule(seconds=st.sampled_from([0.1, 0.5, 1.0, 4.0, 9.0, 11.0, 30.0, 59.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(n=st.integers(0, 3), most=st.sampled_from([1, 3, 50]))
    def plan(self, n: int, most: int) -> None:
        worker = self._worker(n)
        for _ in range(most):
            if worker.allowance.left(self.now) <= 0 or worker.allowance.spent >= self.limit:
                return
            worker.allowance.started(1)
            self.started.append(self.now)

    @rule(n=st.integers(0, 3), wanted=st.sampled_from([0, 1, 5, 20, MAX_LENT, 2 * MAX_LENT]))
    def send(self, n: int, wanted: int) -> None:
        worker = self._worker(n)
        if worker.attempt is not None:
            return
        worker.number += 1
        plans, wanted = worker.allowance.begin_report(wanted)
        worker.attempt = Attempt(f"s{worker.session}", worker.number, plans, wanted, self.now)

    @rule(n=st.integers(0, 3))
    def arrive(self, n: int) -> None:
        worker = self._worker(n)
        if worker.attempt is not None:
            self.coordinator.hear(worker.name, worker.attempt)

    @rule(n=st.integers(0, 3))
    def answer(self, n: int) -> None:
        worker = self._worker(n)
        if worker.attempt is not None and worker.attempt.arrived:
            self.coordinator.answer(worker.name, worker.attempt)

    @rule(n=st.integers(0, 3))
    def get_the_answer(self, n: int) -> None:
        worker = self._worker(n)
        if worker.attempt is not None and worker.attempt.answer is not None:
            answer = worker.attempt.answer
            worker.allowance.answered(answer["spent"], answer["lent"], worker.attempt.sent_at)
            self.old.append((worker.name, worker.attempt))
            worker.attempt = None

    @rule(n=st.integers(0, 3), complete=st.booleans())
    def exchange(self, n: int, complete: bool) -> None:
        self.send(n, 20)
        self.arrive(n)
        self.answer(n)
        if complete:
            self.get_the_answer(n)

    @rule()
    def all_exchange(self) -> None:
        for n in range(len(self.workers)):
            self.exchange(n, complete=True)

    @rule(n=st.integers(0, 3))
    def lose_and_send_again(self, n: int) -> None:
        worker = self._worker(n)
        if worker.attempt is not None:
            lost = worker.attempt
            self.old.append((worker.name, lost))
            worker.attempt = Attempt(lost.session, lost.number, lost.plans, lost.wanted, self.now)

    @precondition(lambda self: self.old)
    @rule(k=st.integers(0, 1_000))
    def an_old_report_arrives_late(self, k: int) -> None:
        name, attempt = self.old[k % len(self.old)]
        self.coordinator.hear(name, attempt)
        self.coordinator.answer(name, attempt)

    @rule(n=st.integers(0, 3))
    def restart(self, n: int) -> None:
        worker = self._worker(n)
        if worker.attempt is not None:
            self.old.append((worker.name, worker.attempt))
        self.workers[self.workers.index(worker)] = Worker(worker.name, worker.session + 1)

    @rule(plans=st.integers(1, 3))
    def a_dispatcher_of_the_previous_release_plans(self, plans: int) -> None:
        for _ in range(plans):
            if self.coordinator.budget.spent() < self.limit:
                self.coordinator.budget.count(1)
                self.started.append(self.now)

    @invariant()
    def never_more_than_the_limit(self) -> None:
        if hasattr(self, "started"):
            while self.started and self.started[0] <= self.now - MINUTE_S:
                self.started.popleft()
            assert len(self.started) <= self.limit


Workers.TestCase.settings = hypothesis_settings(max_examples=150, stateful_step_count=60, deadline=None)
TestWorkers = Workers.TestCase


def test_an_old_share_counts_while_the_answer_to_the_next_report_is_under_way():
    machine = Workers()
    machine.start(limit=10, count=2)
    machine.exchange(0, complete=True)
    machine.send(0, 20)
    machine.arrive(0)
    machine.exchange(1, complete=True)
    machine.plan(1, 50)
    machine.plan(0, 50)
    assert len(machine.started) == 10


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.mark.parametrize(("workers", "limit"), [(1, 1), (2, 1), (2, 10), (4, 3), (4, 30), (3, 600)])
def test_workers_that_report_every_half_second_get_what_the_rule_allows(clock: Clock, workers: int, limit: int):
    coordinator, crew = Coordinator(clock), [Worker(f"w{n}") for n in range(workers)]
    started: list[tuple[float, str]] = []
    for _ in range(1_200):
        for worker in crew:
            clock.now += 0.5 / workers
            allowance = worker.allowance
            while allowance.left(clock.now) and allowance.spent < limit:
                allowance.started(1)
                started.append((clock.now, worker.name))
            worker.number += 1
            attempt = Attempt("s", worker.number, *allowance.begin_report(MAX_LENT), clock.now)
            coordinator.hear(worker.name, attempt)
            answer = coordinator.answer(worker.name, attempt)
            allowance.answered(answer["spent"], answer["lent"], clock.now)
    times = [at for at, _ in started]
    assert max(bisect_right(times, at) - bisect_right(times, at - MINUTE_S) for at in times) <= limit
    minutes = (clock.now - 100.0) / MINUTE_S
    assert len(started) >= 0.7 * limit * minutes
    if limit >= 10:
        assert {name for _, name in started} == {worker.name for worker in crew}


def test_a_share_is_what_is_wanted_up_to_a_bound_and_counts_for_all_others(clock: Clock):
    budget = PlanBudget(clock)
    budget.report(("a", "s"), 2, 5)
    assert budget.lends_more(("a", "s"))
    assert budget.answer(("a", "s")) == {"spent": 2, "lent": 5}
    assert not budget.lends_more(("a", "s"))
    budget.report(("b", "s"), 0, 1_000)
    assert budget.answer(("b", "s")) == {"spent": 7, "lent": MAX_LENT}
    assert budget.spent() == 2 + 5 + MAX_LENT
    assert budget.lent == 5 + MAX_LENT


def test_an_unused_share_returns_when_fewer_are_wanted(clock: Clock):
    budget = PlanBudget(clock)
    budget.report(("a", "s"), 0, 8)
    budget.answer(("a", "s"))
    budget.report(("a", "s"), 3, 1)
    assert budget.answer(("a", "s")) == {"spent": 3, "lent": 1}
    budget.report(("b", "s"), 0, 0)
    assert budget.answer(("b", "s")) == {"spent": 4, "lent": 0}


def test_the_share_of_a_silent_worker_returns_when_no_plan_of_it_can_be_younger_than_a_minute(clock: Clock):
    budget = PlanBudget(clock)
    budget.report(("a", "s"), 0, 8)
    budget.answer(("a", "s"))
    clock.now += SILENT_S
    assert budget.lent == 0
    assert budget.spent() == 8
    clock.now += MINUTE_S
    assert budget.spent() == 0


def test_plans_count_for_a_minute(clock: Clock):
    budget = PlanBudget(clock)
    for _ in range(100):
        budget.count(1)
        clock.now += 0.1
    assert budget.spent() == 100
    clock.now += MINUTE_S - 10
    assert 90 <= budget.spent() <= 100
    clock.now += 11.1
    assert budget.spent() == 0


def test_workers_take_turns_while_shares_come_back_unused(clock: Clock):
    budget = PlanBudget(clock)

    def exchange(name: str) -> int:
        clock.now += 0.5
        budget.report((name, "s"), 0, 5)
        return budget.answer((name, "s"))["lent"]

    assert (exchange("a"), exchange("b")) == (5, 5)
    shares = [(exchange("a"), exchange("b")) for _ in range(12)]
    assert all(not (a and b) for a, b in shares[1:])
    assert any(a for a, _ in shares[1:])
    assert any(b for _, b in shares[1:])
    clock.now += TURNS_S + SILENT_S
    assert exchange("a") == 5


def test_a_worker_uses_no_share_of_an_old_answer():
    allowance = PlanAllowance()
    assert allowance.left(0.0) == 0
    allowance.answered(3, 5, sent_at=10.0)
    allowance.started(2)
    assert (allowance.spent, allowance.left(10.0)) == (5, 3)
    assert allowance.begin_report(2) == (2, 2)
    assert (allowance.spent, allowance.left(11.0)) == (5, 2)
    assert allowance.left(10.0 + USABLE_S) == 0
    assert USABLE_S < SILENT_S


def test_reports_are_heard_once_by_session(clock: Clock):
    sessions = ReportSessions(clock)
    assert [sessions.hear("a", "s1", n) for n in (1, 1, 2, 1, 4)] == [True, False, True, False, True]
    assert sessions.hear("a", "s2", 1)
    assert not sessions.hear("a", "s1", 4)
    assert (sessions.heard("a", "s1"), sessions.heard("a", "s2"), sessions.heard("b", "s")) == (4, 1, 0)
    assert sessions.counts == {"heard": 4, "repeated": 3}
    assert sessions.workers() == 1
    clock.now += 10.0
    assert sessions.workers() == 0
    assert not sessions.hear("a", "s2", 1), "a lost answer may be asked for again much later"
