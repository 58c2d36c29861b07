"""Requests that the Coordinator's own schema refuses: the culprit is found, whatever part of the question it is in."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from seedcore.decision.agent_selection import RoutingState
from seedcore.decision.batch import TaskBatch
from seedcore.decision.decide import decide
from seedcore.decision.fleet_table import Fleet
from seedcore.errors import InvalidInputError, SeedCoreError, UnauthorizedError, UnavailableError
from seedcore.pricing.outcome_sums import Sums
from seedcore.settings import Settings
from seedcore.skills.host_protocol import Completion
from seedcore.tasks.model import Lease
from seedcore.telemetry.logs import get_logger
from seedcore.worker.decisions.decision_requests import DecisionRequests
from seedcore.worker.decisions.feedback import FeedbackCollector
from seedcore.worker.ports import StreamOutcomes
from tests.worker.conftest import ReadingCoordinator, reading_decisions


def lease(**changed: Any) -> Lease:
    names = ("bindings", "domain", "timeout_s", "limit_key", "idempotency_key", "parent_id")
    fields: dict[str, Any] = dict.fromkeys(names) | {"id": uuid4(), "token": 1, "attempt": 1, "type": "echo"}
    fields |= {"params": "{}", "queue": "default", "slow": False, "priority": 0, "max_attempts": 5, "seq": 1}
    return Lease(**(fields | {"approved": False, "created_at": datetime.now(UTC)} | changed))


class Asker:
    """A dispatcher's side of the questions, with a Coordinator."""

    def __init__(self, broken: Any = lambda _: None) -> None:
        decisions = reading_decisions(Settings(), broken)
        self.coordinator: ReadingCoordinator = decisions.coordinator
        self.feedback = FeedbackCollector()
        self.questions = DecisionRequests(decisions, self.feedback, get_logger("test"))

    async def decide(self, *batch: Lease) -> Any:
        return await self.questions.decide(batch)


@pytest.mark.parametrize(
    ("field", "value"), [("domain", "d" * 201), ("type", "t" * 201), ("priority", 101), ("attempt", -1)]
)
async def test_a_task_that_is_refused_stands_alone_and_its_neighbours_are_decided(field: str, value: Any):
    asker, bad = Asker(), lease(**{field: value})
    batch = [lease() for _ in range(40)] + [bad] + [lease() for _ in range(59)]
    answers = await asker.decide(*batch)
    assert [refused.id for refused, _ in answers.refused] == [bad.id]
    assert field in str(answers.refused[0][1])
    assert answers.decisions.keys() == {task.id for task in batch} - {bad.id}
    assert asker.questions.counts == {"refused_tasks": 1, "refused_reports": 0}
    assert asker.coordinator.refusals < 12
    # Neither is told to the valves twice, nor does any question stay open.
    assert sum(stream["seen"] for question in asker.coordinator.read for stream in question.streams) == 99
    assert asker.feedback.take().undecided == ()


def spoil_outcomes(feedback: FeedbackCollector) -> None:
    feedback.record_completion(Completion("t", 1, "a", "bad", True, -1.0))


def spoil_times(feedback: FeedbackCollector) -> None:
    feedback._next.outcomes["a", "bad"] = (1, float("-inf"), 1)


def spoil_money(feedback: FeedbackCollector) -> None:
    feedback.record_completion(Completion("t", 1, "a", "bad", True, 0.1, usage=(0.0, float("inf"))))


def spoil_energy(feedback: FeedbackCollector) -> None:
    feedback._next.energy["bad"] = Sums(outcomes=1, realised_squares=float("inf"))


def spoil_streams(feedback: FeedbackCollector) -> None:
    feedback._next.watched["d" * 201, "bad"] = StreamOutcomes(1, [[1.0]])


def spoil_outstanding(feedback: FeedbackCollector) -> None:
    feedback._next.outstanding["a", "bad"] = -1


@pytest.mark.parametrize(
    "spoil", [spoil_outcomes, spoil_times, spoil_money, spoil_energy, spoil_streams, spoil_outstanding]
)
async def test_a_refused_part_of_the_report_is_dropped_and_blocks_no_question(spoil: Any):
    asker = Asker()
    for _ in range(3):
        asker.feedback.record_completion(Completion("t", 1, "a", "good", True, 0.5, usage=(1.0, 0.25)))
    asker.feedback._next.outstanding["a", "good"] = 4
    asker.feedback._next.unplanned = 2
    spoil(asker.feedback)
    batch = [lease() for _ in range(20)]
    answers = await asker.decide(*batch)
    assert answers.decisions.keys() == {task.id for task in batch}
    assert (answers.refused, asker.questions.counts["refused_tasks"]) == ([], 0)
    assert asker.questions.counts["refused_reports"] >= 1
    good = [o for question in asker.coordinator.read for o in question.outcomes if o["type"] == "good"]
    assert [(o["count"], o["seconds"]) for o in good] == [(3, 1.5)]
    # What is left is whole, and the next question is taken at once.
    refusals = asker.coordinator.refusals
    await asker.decide(lease())
    assert asker.coordinator.refusals == refusals
    assert sum(question.unplanned for question in asker.coordinator.read) == 2
    assert sum(q.dropped for q in asker.coordinator.read) == asker.questions.counts["refused_reports"]
    last = asker.coordinator.read[-1]
    assert [(o["type"], o["count"]) for o in last.outstanding] == [("good", 4)]
    assert (last.outcomes, last.spent, last.energy) == ([], [], [])


async def test_a_task_that_breaks_the_coordinator_is_found_like_one_that_it_refuses():
    asker = Asker(lambda question: SeedCoreError("Unexpected KeyError") if "bad" in question.tasks.type else None)
    bad, good = lease(type="bad"), lease()
    answers = await asker.decide(good, bad)
    assert ([refused.id for refused, _ in answers.refused], list(answers.decisions)) == ([bad.id], [good.id])


@pytest.mark.parametrize(
    "error", [SeedCoreError("Unexpected KeyError"), InvalidInputError("all wrong"), UnauthorizedError("no key")]
)
async def test_a_coordinator_that_refuses_every_question_blames_no_task(error: SeedCoreError):
    """A wrong key, or another release that reads no question of this one."""
    asker = Asker(lambda _: error)
    asker.feedback.record_completion(Completion("t", 1, "a", "good", True, 0.5))
    with pytest.raises(type(error)):
        await asker.decide(*(lease() for _ in range(50)))
    assert asker.coordinator.refusals == 2
    assert asker.questions.counts == {"refused_tasks": 0, "refused_reports": 0}
    assert asker.feedback.take().outcomes == {("a", "good"): (1, 0.5, 1)}


async def test_a_coordinator_that_is_away_is_asked_once_and_the_report_is_kept():
    asker = Asker(lambda _: UnavailableError("away"))
    asker.feedback.record_completion(Completion("t", 1, "a", "good", True, 0.5))
    with pytest.raises(UnavailableError):
        await asker.decide(*(lease() for _ in range(50)))
    assert asker.coordinator.refusals == 1
    question = asker.feedback.take()
    assert (question.outcomes, question.undecided) == ({("a", "good"): (1, 0.5, 1)}, ())


async def test_what_was_decided_before_the_coordinator_went_away_holds():
    asker = Asker(lambda _: UnavailableError("away") if len(asker.coordinator.read) >= 2 else None)
    batch = [lease() for _ in range(4)] + [lease(domain="d" * 201)]
    answers = await asker.decide(*batch)
    # Asked about nothing, then about the first half.
    assert list(answers.decisions) == [task.id for task in batch[:2]]
    assert (answers.refused, str(answers.interrupted)) == ([], "away")


def test_a_question_without_tasks_is_answered_by_the_decision_itself():
    answer = decide(TaskBatch.of_types([]), Fleet(), RoutingState(1.0, 0.1))
    assert (answer.verdict, answer.verdicts) == ([], [])
