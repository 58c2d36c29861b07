"""Events and waiting: streams that break, that never come, and tasks that never end."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedcore import errors
from seedcore.client import operations
from seedcore.client.errors import TaskFailedError, UnexpectedResultError
from seedcore.client.http_protocol import Reply, Request
from seedcore.client.models import NewTask
from tests.client.scripted_network import GONE, LOST, TASK_ID, Delayed, Network, event, network, ok, problem, task

NO_MORE = Reply(204, {})
WHOLE = [event(n, name) for n, name in enumerate(["submitted", "leased", "started", "completed"], start=1)]
PING = b": ping\n\n"


def cursors(net: Network) -> list[str]:
    return [r.headers["Last-Event-ID"] for r in net.requests if r.path.endswith("/events")]


def followed(net: Network, **policy: Any) -> list[tuple[int, str]]:
    net.run(operations.events(net.policy(**policy), TASK_ID, 0))
    return [(e.id, e.event) for e in net.emitted]


ALL = [(1, "submitted"), (2, "leased"), (3, "started"), (4, "completed")]


def test_events_come_to_the_last_one():
    net = network(WHOLE)
    assert followed(net) == ALL
    assert cursors(net) == ["0"]
    assert net.timeouts == [40]


@pytest.mark.parametrize("end", [LOST, b""])
def test_a_broken_stream_is_resumed_after_the_last_whole_event(end: Any):
    half = WHOLE[2][:-1]
    net = network([WHOLE[0], WHOLE[1] + half, end], GONE, problem(503, "unavailable"), WHOLE[2:])
    assert followed(net) == ALL
    assert cursors(net) == ["0", "2", "2", "2"]


def test_a_stream_that_broke_after_its_last_event_is_over():
    net = network([*WHOLE, LOST], NO_MORE)
    assert followed(net) == ALL
    assert cursors(net) == ["0", "4"]


@settings(deadline=None)
@given(cuts=st.lists(st.integers(0, 4), max_size=8))
def test_every_event_comes_once_however_often_it_breaks(cuts: list[int]):
    breaks = iter(cuts)

    def answer(request: Request) -> Any:
        rest = WHOLE[int(request.headers["Last-Event-ID"]) :]
        cut = next(breaks, None)
        if not rest:
            return NO_MORE
        return rest if cut is None else [PING, *rest[:cut], LOST]

    assert followed(Network(answer)) == ALL


def test_following_ends_when_nothing_is_heard_for_too_long():
    net = Network(lambda _: [LOST])
    with pytest.raises(errors.UnavailableError):
        followed(net, retry_for_s=10)
    assert sum(net.pauses) <= 10


def test_hearing_something_begins_the_patience_anew():
    silent = [[PING, LOST]] * 100
    net = network(*silent, WHOLE)
    assert followed(net, retry_for_s=1) == ALL
    assert sum(net.pauses) > 1


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (problem(404, "not_found"), errors.NotFoundError),
        (problem(401, "unauthorized"), errors.UnauthorizedError),
        ([b"data: 1\n\n"], errors.UnavailableError),
        ([b"id: 1\ndata: {\n\n"], errors.UnavailableError),
        ([b"id: one\ndata: {}\n\n"], errors.UnavailableError),
    ],
)
def test_what_no_further_stream_mends_is_raised(answer: Any, error: type[errors.SeedCoreError]):
    net = network(answer)
    with pytest.raises(error):
        followed(net)


def waited(net: Network, timeout_s: float = 30) -> Any:
    return net.run(operations.wait(net.policy(), TASK_ID, timeout_s))


DONE = ok(task("completed", result={"value": 1}))
RUNNING = ok(task("running"))


def test_waiting_looks_once_when_the_stream_is_over():
    net = network(WHOLE, DONE)
    assert waited(net).result == {"value": 1}
    assert [r.path.rpartition("/")[2] for r in net.requests] == ["events", str(TASK_ID)]
    assert net.pauses == []


def test_an_end_that_was_undone_is_no_end():
    again = [event(3, "retried"), event(4, "completed")]
    net = network([event(1, "submitted"), event(2, "failed")], RUNNING, again, DONE)
    assert waited(net).ended
    assert cursors(net) == ["0", "2"]


@pytest.mark.parametrize(
    "no_stream", [[], [LOST], Reply(200, {"content-type": "text/html"}, b"hello"), problem(405, "method_not_allowed")]
)
def test_without_streams_it_polls_ever_more_slowly(no_stream: Any):
    looks = 0

    def answer(request: Request) -> Any:
        nonlocal looks
        if request.path.endswith("/events"):
            return no_stream
        looks += 1
        return DONE if looks == 12 else RUNNING

    net = Network(answer)
    assert waited(net).ended
    assert len(cursors(net)) == operations.MAX_SILENT_STREAMS
    assert net.pauses == sorted(net.pauses)
    assert net.pauses[-1] == operations.MAX_POLL_S


def test_waiting_outlives_a_restart():
    net = network([WHOLE[0], LOST], *[GONE] * 8, RUNNING, WHOLE[1:], DONE)
    assert waited(net).ended
    assert cursors(net) == ["0", "1"]


def test_waiting_ends_in_time_and_says_how_it_stands():
    net = Network(lambda request: [PING] if request.path.endswith("/events") else RUNNING)
    began = net.time
    with pytest.raises(errors.DeadlineError, match=f"{TASK_ID} is running after 3 s. It continues") as raised:
        waited(net, 3)
    assert raised.value.extra["task_id"] == str(TASK_ID)
    assert net.time - began == pytest.approx(3)


@settings(deadline=None)
@given(gaps=st.lists(st.floats(0.2, 15), min_size=1, max_size=20).map(itertools.cycle), timeout_s=st.floats(0, 100))
def test_a_stream_that_goes_on_is_not_read_far_past_the_end(gaps: Iterator[float], timeout_s: float):
    """Pieces come at most 15 s apart; a read may take its timeout and no longer."""
    net = Network(lambda _: None)

    class Endless(list[Any]):
        def __iter__(self) -> Any:
            granted = net.timeouts[-1]
            for seconds in gaps:
                yield Delayed(seconds, PING) if seconds <= granted else Delayed(granted, LOST)

    net.answers = lambda request: Endless() if request.path.endswith("/events") else RUNNING
    began = net.time
    with pytest.raises(errors.DeadlineError):
        waited(net, timeout_s)
    # 1/0.9 of what is left when the last piece comes, and what a last look may take.
    assert net.time - began <= timeout_s + 15 * (1 / 0.9 - 1) + 1
    assert len(net.requests) < 300


def test_waiting_for_nobody_is_raised():
    missing = problem(404, "not_found")
    net = network(missing, missing)
    with pytest.raises(errors.NotFoundError):
        waited(net)


def ran(ended: Reply, returns: Any = None) -> Any:
    net = network(ok(task(), 201), WHOLE, ended)
    return net.run(operations.run(net.policy(), NewTask(type="echo"), returns, 30))


def test_run_gives_the_result():
    assert ran(DONE) == {"value": 1}
    assert ran(DONE, dict[str, float]) == {"value": 1.0}


def test_run_does_not_wait_for_a_task_that_has_ended():
    net = network(DONE)
    assert net.run(operations.run(net.policy(), NewTask(type="echo"), None, 30)) == {"value": 1}


def test_run_raises_why_a_task_failed():
    with pytest.raises(TaskFailedError, match="failed: skill_failed: it broke") as raised:
        ran(ok(task("failed", error={"code": "skill_failed", "message": "it broke"})))
    assert (raised.value.code, raised.value.message) == ("skill_failed", "it broke")
    assert raised.value.task.id == TASK_ID
    assert not raised.value.transient


def test_run_raises_that_a_task_was_cancelled():
    with pytest.raises(TaskFailedError) as raised:
        ran(ok(task("cancelled")))
    assert (raised.value.code, raised.value.message) == ("cancelled", "")


def test_run_raises_when_the_result_is_another():
    with pytest.raises(UnexpectedResultError, match="value: Input should be a valid boolean") as raised:
        ran(ok(task("completed", result={"value": 7})), dict[str, bool])
    assert raised.value.task.result == {"value": 7}


def test_submit_and_wait_share_the_time_of_a_run():
    net = network(Delayed(12, ok(task(), 201)), *[RUNNING] * 200)
    began = net.time
    with pytest.raises(errors.DeadlineError):
        net.run(operations.run(net.policy(), NewTask(type="echo"), None, 20))
    assert net.time - began == pytest.approx(20)
