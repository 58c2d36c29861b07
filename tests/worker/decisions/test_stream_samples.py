"""What a worker reports to the valves: a few rows a stream, however many tasks there are."""

import json
import time
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from seedcore.changepoint.features import TASK_COLUMNS, task_features
from seedcore.schemas.stream_rows import StreamRows
from seedcore.skills.host_protocol import Completion
from seedcore.tasks.model import Lease
from seedcore.worker.decisions.stream_samples import MAX_READ, MAX_STREAMS, OUTCOMES, SAMPLE, StreamSamples
from seedcore.worker.in_flight import InFlight


def lease(**changed: Any) -> Lease:
    names = ("bindings", "domain", "timeout_s", "limit_key", "idempotency_key", "parent_id")
    fields: dict[str, Any] = dict.fromkeys(names) | {"id": uuid4(), "token": 1, "attempt": 1, "type": "echo"}
    fields |= {"params": "{}", "queue": "default", "slow": False, "priority": 0, "max_attempts": 5, "seq": 1}
    return Lease(**(fields | {"approved": False, "created_at": datetime.now(UTC)} | changed))


def completion(**changed: Any) -> Completion:
    fields = {"task_id": "t", "token": 1, "ok": True, "seconds": 0.1, "agent": "a", "skill": "echo"} | changed
    return Completion(**fields)


def taken(tasks: list[Lease]) -> list[StreamRows]:
    samples = StreamSamples()
    for task in tasks:
        samples.add_task(task)
    return samples.take()


@pytest.mark.parametrize("count", [1, SAMPLE, SAMPLE + 1, 5 * SAMPLE, 12_345])
def test_of_many_tasks_a_few_evenly_spread_ones_are_reported(count: int):
    tasks = [lease(params=json.dumps({"value": n}), seq=7 + 3 * n) for n in range(count)]
    (stream,) = taken(tasks)
    assert stream["seen"] == count
    assert min(count, SAMPLE // 2) <= len(stream["tasks"]) <= SAMPLE
    step = next(2**n for n in range(20) if len(range(0, count, 2**n)) <= SAMPLE)
    expected = [tasks[n] for n in range(0, count, step)]
    assert stream["tasks"] == [task_features("echo", json.loads(t.params), size=len(t.params)) for t in expected]
    assert stream["order"] == [task.seq for task in expected]


def test_streams_are_by_domain_and_type():
    found = taken([lease(), lease(domain="sales"), lease(type="other"), lease()])
    assert [(s["domain"], s["type"], s["seen"]) for s in found] == [
        (None, "echo", 2),
        ("sales", "echo", 1),
        (None, "other", 1),
    ]


def test_what_was_reported_is_not_reported_again():
    known, new = lease(), lease()
    assert len(taken([known])) == 1
    assert taken([known]) == []
    (stream,) = taken([known, new])
    assert (stream["seen"], len(stream["tasks"])) == (1, 1)


def test_streams_beyond_the_limit_and_names_that_are_too_long_are_counted_as_missed():
    samples = StreamSamples()
    for task in [lease(domain="d" * 201), *[lease(type=f"t{n}") for n in range(MAX_STREAMS + 3)]]:
        samples.add_task(task)
    assert samples.missed == 4
    assert len(samples.take()) == MAX_STREAMS


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
    (stream,) = taken([lease(params=json.dumps({"value": "word " * MAX_READ}))])
    assert len(stream["tasks"][0]) == TASK_COLUMNS
    assert sum(stream["tasks"][0][:32]) == 0


def test_a_number_that_no_double_holds_stops_nothing():
    (stream,) = taken([lease(params='{"value": 1%s}' % ("0" * 400))])
    assert stream["tasks"] == [task_features("echo", None, size=412)]


def test_the_first_outcomes_of_a_stream_are_reported_once():
    samples = StreamSamples()
    for n in range(OUTCOMES + 5):
        samples.add_outcome("sales", completion(ok=n > 0, error_code=None if n else "boom"))
    (stream,) = samples.take()
    assert (stream["domain"], stream["type"], stream["seen"]) == ("sales", "echo", 0)
    assert [row[1] for row in stream["outcomes"]] == [0.0] + [1.0] * (OUTCOMES - 1)
    assert stream["outcome_order"] == sorted(stream["outcome_order"])
    assert len(stream["outcome_order"]) == OUTCOMES
    assert all(0 <= time.time() - at / 1e3 < 60 for at in stream["outcome_order"])
    assert samples.take() == []
