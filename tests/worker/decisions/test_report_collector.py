"""What a worker reports: everything once, until it is heard."""

from uuid import uuid4

import pytest

from seedcore.schemas.snapshot import WorkerReport
from seedcore.skills.host_protocol import Completion
from seedcore.web.service_base import parse
from seedcore.worker.decisions import report_collector
from seedcore.worker.decisions.report_collector import ReportCollector
from seedcore.worker.decisions.route_decision import RouteDecision
from tests.worker.decisions.test_stream_samples import lease

DECISION = RouteDecision(
    "fast", "known_skill", "r", agent="a", host="h", delta_energy=1.2, expected_s=0.5, expected_failure=0.1, v=1.0
)


def completion(**changed: object) -> Completion:
    return Completion(str(uuid4()), 1, "a", "echo", True, 0.5, "{}")._replace(**changed)  # type: ignore[arg-type]


def taken(reports: ReportCollector) -> WorkerReport:
    return parse(WorkerReport, reports.take("worker", "session", (3, 4), 0.5))


def test_a_report_has_all_that_happened_since_the_last_one_and_what_waits_now():
    reports = ReportCollector()
    reports.sent("a", "echo")
    reports.sent("b", "echo")
    reports.returned("b", "echo")
    reports.observe([lease(), lease(domain="sales")])
    reports.record_completion(completion(usage=(7.0, 0.0)), DECISION)
    reports.record_completion(completion(ok=False, usage=(10.0, 0.25)))
    reports.count_decision("fast", "known_skill", 3)
    reports.count_decision("plan", "valve_open")
    reports.count_decision(None, "no_agent")
    reports.count_rule_failure("broken", 2)
    reports.count_unplanned()
    assert reports.waits_for_share(uuid4())
    report = taken(reports)
    assert (report.asker, report.session, report.number) == ("worker", "session", 1)
    assert (report.generation, report.version, report.wait_s, report.plans_wanted) == (3, 4, 0.5, 2)
    assert report.outstanding == [{"agent": "a", "type": "echo", "count": 1}]
    assert report.outcomes == [{"agent": "a", "type": "echo", "count": 2, "seconds": 1.0, "successes": 1}]
    assert report.spent == [{"agent": "a", "type": "echo", "count": 1, "money": 0.25}]
    assert [(e["type"], e["outcomes"], e["tokens"]) for e in report.energy] == [("echo", 1, 7.0)]
    assert [(s["domain"], len(s["tasks"]), len(s["outcomes"])) for s in report.streams] == [
        (None, 1, 2),
        ("sales", 1, 0),
    ]
    assert report.decided == {"fast:known_skill": 3, "plan:valve_open": 1, "wait:no_agent": 1}
    assert (report.rule_failures, report.plans, report.unplanned) == ({"broken": 2}, 1, 1)


def test_a_report_is_sent_again_under_its_number_until_it_is_heard():
    reports = ReportCollector()
    reports.record_completion(completion())
    first = taken(reports)
    reports.record_completion(completion())
    again = taken(reports)
    assert (again.number, again.outcomes) == (first.number, first.outcomes)
    reports.heard(first.number)
    second = taken(reports)
    assert (second.number, second.outcomes[0]["count"]) == (first.number + 1, 1)


def test_an_answer_to_an_earlier_report_does_not_drop_a_later_one():
    reports = ReportCollector()
    number = taken(reports).number
    reports.heard(number)
    reports.record_completion(completion())
    assert taken(reports).number == number + 1
    reports.heard(number)
    assert len(taken(reports).outcomes) == 1


def test_a_refused_report_is_dropped_and_counted():
    reports = ReportCollector()
    reports.record_completion(completion())
    taken(reports)
    reports.refused()
    report = taken(reports)
    assert (report.outcomes, report.dropped, reports.counts["refused_reports"]) == ([], 1, 1)


def test_outcomes_without_a_coordinator_are_bounded_and_counted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(report_collector, "MAX_KEYS", 3)
    reports = ReportCollector()
    for n in range(5):
        reports.record_completion(completion(agent=f"a{n % 4}"))
    report = taken(reports)
    assert sum(outcome["count"] for outcome in report.outcomes) == 4
    assert report.dropped == reports.counts["dropped_outcomes"] == 1


def test_outcomes_count_here_at_once_and_once():
    reports = ReportCollector()
    reports.record_completion(completion())
    reports.record_completion(completion(ok=False))
    assert reports.take_unlearned() == {("a", "echo"): (2, 1.0, 1)}
    assert reports.take_unlearned() == {}


def test_plans_are_reported_once_and_repeated_with_their_report():
    reports = ReportCollector()
    reports.count_decision("plan", "r")
    first = taken(reports)
    reports.count_decision("plan", "r", 2)
    again = taken(reports)
    assert (first.plans, again.plans) == (1, 1)
    assert reports.allowance.spent == 3
    reports.heard(first.number)
    assert taken(reports).plans == 2


def test_a_decision_that_does_not_say_what_it_expected_counts_for_no_energy():
    reports = ReportCollector()
    reports.record_completion(completion(), DECISION._replace(v=None))
    assert taken(reports).energy == []
