"""When a request is sent again, after what pause, and when that ends."""

import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedcore import errors
from seedcore.client import operations
from seedcore.client.http_protocol import ConnectionFailure, Reply, retry_after_s
from seedcore.client.http_retry import HttpPolicy
from seedcore.client.models import NewTask
from tests.client.scripted_network import GONE, LOST, TASK_ID, Delayed, Network, network, ok, problem, task

BUSY = problem(429, "overloaded")
DOWN = problem(503, "unavailable")
PROXY = Reply(503, {"content-type": "text/html"}, b"<h1>no server is available</h1>")
NO_ROUTES = Reply(404, {"content-type": "text/plain"}, b"Path '/api/v1/tasks' not found.")


@pytest.mark.parametrize("first", [GONE, LOST, BUSY, DOWN, PROXY, NO_ROUTES])
def test_a_submit_is_sent_again_word_for_word(first: Any):
    net = network(first, first, ok(task(), 201))
    assert net.run(operations.submit(net.policy(), NewTask(type="echo", params={"value": 1}))).id == TASK_ID
    assert len({request.body for request in net.requests}) == 1
    assert b'"idempotency_key":"' in (net.requests[0].body or b"")
    assert net.pauses == [0.1, 0.2]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (problem(422, "invalid_input"), errors.InvalidInputError),
        (problem(409, "conflict"), errors.ConflictError),
        (problem(404, "not_found"), errors.NotFoundError),
        (problem(401, "unauthorized"), errors.UnauthorizedError),
        (problem(413, "too_large"), errors.TooLargeError),
        (problem(504, "deadline_exceeded"), errors.DeadlineError),
        (problem(500, "internal_error"), errors.SeedCoreError),
        (problem(503, "not_configured"), errors.NotConfiguredError),
        (Reply(200, {}, b"<html>"), errors.UnavailableError),
        (ok({"id": 1}), errors.UnavailableError),
        (Reply(401, {}, b"who are you"), errors.UnauthorizedError),
        (Reply(307, {"location": "https://elsewhere"}, b""), errors.UnavailableError),
    ],
)
def test_what_will_not_change_is_raised_at_once(answer: Reply, error: type[errors.SeedCoreError]):
    net = network(answer)
    with pytest.raises(error) as raised:
        net.run(operations.get(net.policy(), TASK_ID))
    assert type(raised.value) is error
    assert len(net.requests) == 1


@pytest.mark.parametrize(("first", "again"), [(GONE, True), (BUSY, True), (DOWN, True), (LOST, False), (PROXY, False)])
def test_what_is_done_to_a_task_is_sent_again_only_when_nothing_was_done(first: Any, again: bool):
    net = network(first, ok(task("cancelled"), 202))
    if again:
        assert net.run(operations.control(net.policy(), TASK_ID, "cancel")).status == "cancelled"
    else:
        with pytest.raises(errors.UnavailableError):
            net.run(operations.control(net.policy(), TASK_ID, "cancel"))
        assert len(net.requests) == 1


def test_retry_after_is_waited_for_and_jitter_comes_on_top():
    net = network(problem(429, "overloaded", {"retry-after": "7"}), ok(task()))
    net.run(operations.get(net.policy(), TASK_ID))
    assert net.pauses == [7.1]


def test_a_retry_after_beyond_the_bound_is_raised_at_once_and_told():
    net = network(problem(503, "unavailable", {"retry-after": "31"}))
    with pytest.raises(errors.UnavailableError) as raised:
        net.run(operations.get(net.policy(), TASK_ID))
    assert raised.value.retry_after_s == 31
    assert net.pauses == []


@pytest.mark.parametrize("text", ["", "soon", "-1", "1.5", "\u0661"])
def test_a_retry_after_that_is_none_is_as_none(text: str):
    assert retry_after_s({"retry-after": text}) is None


def test_a_retry_after_may_be_a_date():
    at = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert 50 < (retry_after_s({"retry-after": at}) or 0) <= 60
    assert retry_after_s({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}) == 0


@settings(deadline=None)
@given(
    retry_for_s=st.floats(0, 300),
    took_s=st.floats(0, 20),
    answer=st.sampled_from([GONE, LOST, BUSY, DOWN, PROXY, problem(429, "overloaded", {"retry-after": "3"})]),
)
def test_no_attempt_begins_after_the_bound_and_pauses_grow_to_theirs(retry_for_s: float, took_s: float, answer: Any):
    net = Network(lambda _: Delayed(took_s, answer))
    began = net.time
    with pytest.raises(errors.SeedCoreError):
        net.run(operations.get(net.policy(retry_for_s=retry_for_s), TASK_ID))
    assert net.time - began <= max(retry_for_s, 0) + took_s + 1e-6
    assert net.pauses == sorted(net.pauses)
    assert all(pause <= 5 + 3 for pause in net.pauses)
    assert len(net.requests) == len(net.pauses) + 1


def test_jitter_is_between_half_and_all():
    jitters = [HttpPolicy("http://x").jitter() for _ in range(500)]
    assert 0.5 <= min(jitters) < 0.55
    assert 0.95 < max(jitters) <= 1


def test_the_last_error_tells_the_mend():
    net = Network(lambda _: GONE)
    with pytest.raises(errors.UnavailableError, match=r"seedcore\.test does not answer \(ConnectError.*running.*URL"):
        net.run(operations.get(net.policy(), TASK_ID))


@settings(deadline=None)
@given(
    status=st.integers(300, 599),
    body=st.one_of(
        st.binary(max_size=50),
        st.dictionaries(
            st.sampled_from(["code", "detail", "errors", "retry_after_s", "status", "self", "kind", "x"]),
            st.one_of(
                st.none(),
                st.booleans(),
                st.integers(),
                st.sampled_from(["conflict", "task_failed", "batch_failed", "nobody_knows"]),
                st.lists(st.one_of(st.integers(), st.dictionaries(st.sampled_from(["field"]), st.integers()))),
            ),
        ),
    ),
)
def test_any_refusal_becomes_an_error_of_ours(status: int, body: bytes | dict[str, Any]):
    answer = Reply(status, {}, body) if isinstance(body, bytes) else ok(body, status)
    net = Network(lambda _: answer)
    with pytest.raises(errors.SeedCoreError) as raised:
        net.run(operations.get(net.policy(retry_for_s=1), TASK_ID))
    assert raised.value.detail
    assert raised.value.retry_after_s is None or math.isfinite(raised.value.retry_after_s)


def test_a_failure_names_its_kind_without_a_text():
    import httpx

    request = httpx.Request("GET", "http://x")
    assert ConnectionFailure.of(httpx.ReadTimeout("", request=request)) == ConnectionFailure("ReadTimeout", sent=True)
    assert ConnectionFailure.of(httpx.ConnectTimeout("late", request=request)) == ConnectionFailure(
        "ConnectTimeout: late", sent=False
    )
