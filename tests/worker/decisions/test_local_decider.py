"""What a dispatcher relies on of decisions; the scripted twin and the real decider behave alike."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from seedcore.errors import SeedCoreError, UnavailableError
from seedcore.pricing.plan_allowance import MAX_LENT
from seedcore.settings import load_settings
from seedcore.skills.host_protocol import Call, Completion
from seedcore.tasks.model import Lease
from seedcore.worker.decisions.foreign_work import ForeignWork
from seedcore.worker.decisions.local_decider import LocalDecider
from seedcore.worker.decisions.report_collector import ReportCollector
from seedcore.worker.decisions.route_decision import RouteDecision
from seedcore.worker.decisions.snapshot_state import SnapshotState
from seedcore.worker.ports import Decider
from tests.worker.decisions.snapshots import update, whole_parts
from tests.worker.decisions.test_stream_samples import lease
from tests.worker.twins.decider import ScriptedDecider

LIMITED = """
rules:
  - {name: few, when: "task.type == 'echo' && budget.plans_per_minute < 3", route: plan}
"""


class Worker:
    """A decider with its state; `hop_s` is what it measured."""

    def __init__(self, path: Path, name: str = "w-0", **parts: Any) -> None:
        self.state, self.reports, self.hop_s = SnapshotState(name, 1.0), ReportCollector(), 0.004
        self.decider = LocalDecider(load_settings(data_dir=path), self.state, self.reports, lambda: self.hop_s)
        self.state.apply(update(parts=whole_parts(**parts)), [])

    def decide(self, *tasks: Lease) -> list[RouteDecision]:
        """Decide, and begin what goes to an agent, as a dispatcher does."""
        decisions = self.decider.decide(tasks)
        for task, decision in zip(tasks, decisions, strict=True):
            if decision.agent is not None:
                self.reports.sent(decision.agent, task.type)
        return decisions


@dataclass
class Deciding:
    """A decider, and how it comes to know nothing."""

    decider: Decider
    forget: Callable[[], None]


@pytest.fixture(params=["scripted", "real"])
def deciding(request: pytest.FixtureRequest, tmp_path: Path) -> Deciding:
    if request.param == "scripted":
        twin = ScriptedDecider(scripted)

        def forget() -> None:
            twin.error = UnavailableError("there is no snapshot yet")

        return Deciding(twin, forget)
    worker = Worker(tmp_path)

    def forget_all() -> None:
        worker.state.policy = None

    return Deciding(worker.decider, forget_all)


def scripted(task: Lease) -> RouteDecision:
    if task.type != "echo":
        return RouteDecision("reject", "unknown_skill", "no such skill")
    if task.priority > 5 and not task.approved:
        return RouteDecision("hold", "loud", "too loud")
    return RouteDecision("fast", "known_skill", "known", agent="a-0", host="w-0", delta_energy=0.5, timeout_s=7.0)


def test_each_task_gets_its_own_decision_in_order(deciding: Deciding):
    tasks = [lease(), lease(type="unknown"), lease(priority=9), lease(priority=1)]
    decisions = deciding.decider.decide(tasks)
    assert [(d.route, d.rule) for d in decisions] == [
        ("fast", "known_skill"),
        ("reject", "unknown_skill"),
        ("hold", "loud"),
        ("fast", "known_skill"),
    ]


def test_a_fast_decision_names_agent_host_price_and_the_skills_own_timeout(deciding: Deciding):
    (decision,) = deciding.decider.decide([lease()])
    assert (decision.agent, decision.host, decision.timeout_s) == ("a-0", "w-0", 7.0)
    assert decision.delta_energy is not None


def test_a_task_that_a_person_released_is_not_held_again(deciding: Deciding):
    (decision,) = deciding.decider.decide([lease(priority=9, approved=True)])
    assert decision.route == "fast"


def test_without_anything_to_decide_with_it_raises_an_error_that_may_pass(deciding: Deciding):
    deciding.forget()
    with pytest.raises(SeedCoreError) as caught:
        deciding.decider.decide([lease()])
    assert caught.value.transient


@pytest.mark.parametrize("name", ["w-0", "w-1"])
def test_of_equal_agents_a_worker_takes_its_own(tmp_path: Path, name: str):
    worker = Worker(tmp_path, name)
    hosts = Counter()
    for n in range(50):
        (decision,) = worker.decide(lease())
        hosts[decision.host] += 1
        assert decision.agent is not None
        # Each ends before the next one comes, a little faster or slower than the last.
        worker.reports.returned(decision.agent, "echo")
        worker.reports.record_completion(done(decision.agent, 0.0001 + 0.00002 * (n % 3)))
    assert hosts == {name: 50}


def done(agent: str, seconds: float, *, ok: bool = True) -> Completion:
    return Completion(str(uuid4()), 1, agent, "echo", ok, seconds, "{}")


def test_work_that_takes_long_goes_to_idle_agents_of_other_workers(tmp_path: Path):
    worker = Worker(tmp_path)
    worker.reports.record_completion(done("a-0", 1.0))
    worker.reports.record_completion(done("a-1", 1.0))
    assert {d.host for d in worker.decide(*[lease() for _ in range(10)])} == {"w-0", "w-1"}


def test_an_agent_elsewhere_that_fails_less_is_worth_the_way(tmp_path: Path):
    worker = Worker(tmp_path)
    for n in range(100):
        worker.reports.record_completion(done("a-0", 0.001, ok=n % 5 > 0))
        worker.reports.record_completion(done("a-1", 0.001))
    (decision,) = worker.decide(lease())
    assert decision.host == "w-1"


def test_the_longer_the_way_the_more_an_agent_elsewhere_costs(tmp_path: Path):
    worker = Worker(tmp_path)
    prices = []
    for hop_s in (0.001, 0.01, 0.1):
        worker.hop_s = hop_s
        worker.reports.outstanding = {("a-0", "echo"): 1_000_000}
        (decision,) = worker.decider.decide([lease()])
        assert decision.host == "w-1"
        prices.append(decision.delta_energy)
    assert prices == sorted(prices)
    assert prices[0] != prices[-1]


def test_own_assignments_count_at_once_and_others_by_their_reports(tmp_path: Path):
    backlog = {"w-1": [("a-0", "echo", 500), ("a-1", "echo", 40)], "w-0": [("a-1", "echo", 10_000)]}
    worker = Worker(tmp_path, backlog=backlog)
    # What it waits for itself, and what its own agent has in hand, it knows better than any report.
    team = worker.state.fleet.team("utility")
    assert team is not None
    assert worker.state.fleet.load(team).tasks.tolist() == [0.0, 40.0]
    worker.decide(*[lease() for _ in range(30)])
    worker.decider.decide([lease()])
    assert worker.state.fleet.load(team).tasks.sum() == 70.0


def test_calls_of_other_workers_count_at_the_agent_that_runs_them_here(tmp_path: Path):
    worker, foreign = Worker(tmp_path), ForeignWork()
    worker.decider = LocalDecider(load_settings(data_dir=tmp_path), worker.state, worker.reports, lambda: 0.0, foreign)
    calls = [Call(str(n), n, 1, "echo", "{}", "a-0", None, str(n)) for n in range(3)]
    foreign.begin(calls)
    assert {d.agent for d in worker.decider.decide([lease()])} == {"a-1"}
    foreign.end(calls)
    worker.decider.decide([lease()])
    team = worker.state.fleet.team("utility")
    assert team is not None
    assert worker.state.fleet.load(team).tasks.sum() == 0


def test_while_the_coordinator_is_silent_decisions_say_how_old_the_snapshot_is(tmp_path: Path):
    worker = Worker(tmp_path)
    (fresh,) = worker.decide(lease())
    worker.state._confirmed_at -= 40.0  # type: ignore[operator]
    (stale,) = worker.decide(lease())
    assert (fresh.route, stale.route) == ("fast", "fast")
    assert "snapshot_age_s" not in fresh.record()
    assert stale.record()["snapshot_age_s"] == pytest.approx(40, abs=5)


@pytest.mark.parametrize(("what", "route"), [("go_on", "fast"), ("wait", None), ("hold", "hold")])
def test_with_a_snapshot_that_is_too_old_the_policy_says_what_becomes_of_tasks(
    tmp_path: Path, what: str, route: str | None
):
    worker = Worker(tmp_path, policy=f"stale_snapshot: {what}")
    worker.state._confirmed_at -= 61.0  # type: ignore[operator]
    decisions = worker.decider.decide([lease(), lease()])
    assert [d.route for d in decisions] == [route] * 2
    assert (decisions[0].rule == "stale_snapshot") == (what != "go_on")


def test_a_task_that_a_person_approved_is_not_held_for_an_old_snapshot(tmp_path: Path):
    worker = Worker(tmp_path, policy="stale_snapshot: hold")
    worker.state._confirmed_at -= 61.0  # type: ignore[operator]
    decisions = worker.decider.decide([lease(), lease(approved=True), lease()])
    assert [d.route for d in decisions] == ["hold", "fast", "hold"]


def test_what_others_wait_for_counts_as_long_as_the_coordinator_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    worker = Worker(tmp_path, backlog={"w-1": [("a-1", "echo", 3)]})
    team = worker.state.fleet.team("utility")
    assert team is not None
    began = time.monotonic()
    for later, answers, tasks in ((9.0, True, 3), (18.0, True, 3), (29.0, False, 0)):
        monkeypatch.setattr(time, "monotonic", lambda later=later: began + later)
        if answers:
            worker.state.apply(update(2, {}, whole=False), [])
        assert worker.state.fleet.load(team).tasks.sum() == tasks


def test_no_more_is_planned_than_the_share_that_was_lent(tmp_path: Path):
    worker = Worker(tmp_path, policy=LIMITED)
    tasks, allowance = [lease() for _ in range(5)], worker.reports.allowance
    assert [d.rule for d in worker.decider.decide(tasks)] == ["plan_share"] * 5
    allowance.answered(0, 2, time.monotonic())
    assert [d.rule for d in worker.decider.decide(tasks)] == ["few", "few", "plan_share", "plan_share", "plan_share"]
    assert worker.reports.take("w-0", "s", (1, 1), 0.0)["plans"] == 2
    allowance.answered(2, 20, time.monotonic())
    assert [d.rule for d in worker.decider.decide(tasks)] == ["few", *["known_skill"] * 4]
    worker.reports.heard(1)
    worker.reports.take("w-0", "s", (1, 1), 0.0)
    allowance.answered(0, 20, time.monotonic() - 60)
    assert [d.rule for d in worker.decider.decide(tasks)] == ["plan_share"] * 5


def test_no_more_tasks_wait_for_a_share_than_it_can_be(tmp_path: Path):
    worker = Worker(tmp_path, policy=LIMITED.replace("< 3", "< 600"))
    rules = Counter(d.rule for d in worker.decider.decide([lease() for _ in range(500)]))
    assert rules == {"plan_share": MAX_LENT, "known_skill": 500 - MAX_LENT}
    assert {d.rule for d in worker.decider.decide([lease() for _ in range(10)])} == {"known_skill"}
    assert worker.reports.take("w-0", "s", (1, 1), 0.0)["plans_wanted"] == MAX_LENT
    worker.reports.allowance.answered(0, 5, time.monotonic())
    rules = Counter(d.rule for d in worker.decider.decide([lease() for _ in range(300)]))
    assert rules == {"few": 5, "plan_share": MAX_LENT, "known_skill": 295 - MAX_LENT}


def test_a_task_that_waits_is_looked_at_again_and_again_and_waits_once(tmp_path: Path):
    worker = Worker(tmp_path, policy=LIMITED.replace("< 3", "< 600"))
    tasks = [lease() for _ in range(MAX_LENT)]
    for _ in range(5):
        assert {d.rule for d in worker.decider.decide(tasks)} == {"plan_share"}
    assert worker.reports.take("w-0", "s", (1, 1), 0.0)["plans_wanted"] == MAX_LENT


def test_goals_need_no_share_and_count(tmp_path: Path):
    worker = Worker(tmp_path, policy=LIMITED)
    decisions = worker.decider.decide([lease(type="goal"), lease(type="goal")])
    assert [(d.route, d.rule) for d in decisions] == [("plan", "goal")] * 2
    assert worker.reports.allowance.spent == 2


def test_what_was_decided_is_reported_by_route_and_rule(tmp_path: Path):
    worker = Worker(tmp_path)
    worker.decide(lease(), lease(), lease(type="unknown"), lease(priority=9))
    report = worker.reports.take("w-0", "s", (1, 1), 0.0)
    assert report["decided"] == {"fast:known_skill": 2, "reject:unknown_skill": 1, "hold:loud": 1}


def test_rules_that_fail_are_reported_and_hold_their_task(tmp_path: Path):
    worker = Worker(tmp_path, policy='rules:\n  - {name: broken, when: "task.size / 0 > 1", route: plan}')
    (decision,) = worker.decider.decide([lease()])
    assert decision.route == "hold"
    assert worker.reports.take("w-0", "s", (1, 1), 0.0)["rule_failures"] == {"broken": 1}
