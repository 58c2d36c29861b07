"""`traceparent`, and ids that every process finds alike."""

import pytest

from seedcore.tasks.model import new_id
from seedcore.telemetry.traces.trace_context import TraceContext, parse_traceparent, run_span_id, submit_span_id

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(("flags", "sampled"), [("00", False), ("01", True), ("03", True), ("fe", False)])
def test_the_flag_says_whether_a_trace_is_recorded(flags: str, sampled: bool):
    assert parse_traceparent(f"00-{TRACE}-{SPAN}-{flags}") == TraceContext(int(TRACE, 16), int(SPAN, 16), sampled)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01\n",
    ],
)
def test_what_the_standard_does_not_allow_names_no_trace(text: str | None):
    assert parse_traceparent(text) is None


def test_a_later_version_is_read_as_far_as_this_one_knows_it():
    assert parse_traceparent(f"01-{TRACE}-{SPAN}-01-more") == parse_traceparent(f"00-{TRACE}-{SPAN}-01")


def test_a_context_is_written_as_it_is_read():
    text = f"00-{TRACE}-{SPAN}-01"
    context = parse_traceparent(text)
    assert context is not None
    assert context.traceparent == text


def test_spans_of_tasks_and_attempts_have_ids_of_their_own():
    tasks = [new_id().int for _ in range(1000)]
    ids = [submit_span_id(task) for task in tasks] + [run_span_id(task, n) for task in tasks for n in (1, 2, 3)]
    assert len(set(ids)) == len(ids)
    assert all(0 < found < 1 << 64 for found in ids)
