"""What a dispatcher tells the valves: a few rows a stream, whatever the batch."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from seedcore.changepoint.features import TASK_COLUMNS, task_features
from seedcore.skills.host_protocol import Completion
from seedcore.tasks.model import Lease
from seedcore.worker.decisions.feedback import FeedbackCollector
from seedcore.worker.decisions.stream_samples import MAX_READ, OUTCOMES, SAMPLE, sample_streams
from seedcore.worker.in_flight import InFlight


@dataclass
class Task:
    type: str = "echo"
    params: str = '{"value": 1}'
    domain: str | None = None
    reported_to_valves: bool = False


def lease(**changed: Any) -> Lease:
    names = ("bindings", "domain", "timeout_s", "limit_key", "idempotency_key", "parent_id")
    fields: dict[str, Any] = dict.fromkeys(names) | {"id": uuid4(), "token": 1, "attempt": 1, "type": "echo"}
    fields |= {"params": "{}", "queue": "default", "slow": False, "priority": 0, "max_attempts": 5, "seq": 1}
    return Lease(**(fields | {"approved": False, "created_at": datetime.now(UTC)} | changed))


def completion(**changed: Any) -> Completion:
    fields = {"task_id": "t", "token": 1, "ok": True, "seconds": 0.1, "agent": "a", "skill": "echo"} | changed
    return Completion(**fields)


def test_of_many_tasks_a_few_evenly_spread_ones_are_told():
    tasks = [Task(params=json.dumps({"value": n})) for n in range(500)]
    (stream,) = sample_streams(tasks, {})
    assert (stream["seen"], len(stream["tasks"])) == (500, SAMPLE)
    assert stream["tasks"][0] == task_features("echo", {"value": 0}, size=len(tasks[0].params))
    assert stream["tasks"][-1] == task_features("echo", {"value": 490}, size=len(tasks[490].params))


def test_streams_are_by_domain_and_type():
    found = sample_streams([Task(), Task(domain="sales"), Task(type="other"), Task()], {})
    assert [(s["domain"], s["type"], s["seen"]) for s in found] == [
        (None, "echo", 2),
        ("sales", "echo", 1),
        (None, "other", 1),
    ]


def test_what_was_reported_is_not_told_again():
    assert sample_streams([Task(reported_to_valves=True)], {}) == []
    (stream,) = sample_streams([Task(reported_to_valves=True), Task()], {})
    assert (stream["seen"], len(stream["tasks"])) == (1, 1)


@pytest.mark.parametrize("known", [{"attempt": 2}, {"approved": True}, {"parent_id": uuid4()}])
def test_retries_released_tasks_and_steps_are_no_news(known: dict[str, Any]):
    in_flight = InFlight()
    new, old = lease(), lease(**known)
    in_flight.add([new, old])
    assert (new.reported_to_valves, old.reported_to_valves) == (False, True)


def test_a_task_that_was_told_and_given_back_is_no_news_and_one_that_was_not_told_is():
    in_flight = InFlight()
    reported, unreported = lease(), lease()
    in_flight.add([reported, unreported])
    reported.reported_to_valves = True
    for each in (reported, unreported):
        in_flight.release(each)
    again = [lease(id=reported.id, token=2), lease(id=unreported.id, token=2)]
    in_flight.add(again)
    assert [each.reported_to_valves for each in again] == [True, False]


def test_what_waits_in_the_slow_lane_is_news_where_it_began_there():
    began, moved = lease(slow=True), lease(slow=False)
    InFlight().add([began, moved], slow=True)
    assert (began.reported_to_valves, moved.reported_to_valves) == (False, True)


def test_long_params_are_not_read():
    (stream,) = sample_streams([Task(params=json.dumps({"value": "word " * MAX_READ}))], {})
    assert len(stream["tasks"][0]) == TASK_COLUMNS
    assert sum(stream["tasks"][0][:32]) == 0


def test_a_number_that_no_double_holds_stops_nobody():
    (stream,) = sample_streams([Task(params='{"value": 1%s}' % ("0" * 400))], {})
    assert stream["tasks"] == [task_features("echo", None, size=412)]


def test_outcomes_are_told_once_and_again_when_the_question_failed():
    feedback = FeedbackCollector()
    for n in range(OUTCOMES + 5):
        feedback.record_completion(completion(ok=n > 0, error_code=None if n else "boom"), None, "sales")
    taken = feedback.take()
    watched = taken.watched["sales", "echo"]
    assert (watched.seen, len(watched.rows), watched.rows[0][1], watched.rows[1][1]) == (
        OUTCOMES + 5,
        OUTCOMES,
        0.0,
        1.0,
    )
    assert feedback.take().watched == {}
    feedback.failed(taken)
    again = feedback.take().watched["sales", "echo"]
    assert (again.seen, again.rows) == (watched.seen, watched.rows)
    assert sample_streams([], {("sales", "echo"): again})[0]["outcomes"] == watched.rows
