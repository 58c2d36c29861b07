"""The trace of a run, and what a skill's process has recorded and counted."""

from seedcore.skills.host_protocol import Call, Completion
from seedcore.telemetry.metrics import counter
from seedcore.telemetry.traces import tracing
from seedcore.telemetry.traces.run_trace import RunTrace, begin_run


def enter_run(call: Call) -> RunTrace | None:
    """The trace of a call's run, current from now on in this context; None when it is not recorded."""
    trace = None if call.traceparent is None else begin_run(call.traceparent, call.task_id, call.token)
    if trace is not None:
        trace.enter()
    return trace


def record_run(trace: RunTrace, call: Call, completion: Completion, host: str) -> None:
    """Take the span of a run that has ended, or that nobody waits for any more."""
    error = None if completion.ok else (completion.error_code or "failed", completion.error_message or "")
    tokens, money = completion.usage or (None, None)
    trace.end(
        f"run {call.skill}",
        {
            "seedcore.task.id": call.task_id,
            "seedcore.skill": call.skill,
            "seedcore.attempt": call.attempt,
            "seedcore.agent": call.agent,
            "seedcore.host": host,
            "seedcore.tenant": call.tenant,
            "seedcore.usage.tokens": tokens,
            "seedcore.usage.money": money,
        },
        error,
    )


def adopt(answer: dict[str, object]) -> None:
    """Take the spans and counts that a process has sent with its answer."""
    spans, counts = answer.get("spans"), answer.get("counts")
    by = tracing.active()
    if by is not None and isinstance(spans, list):
        from seedcore.telemetry.traces import span_codec

        for span in span_codec.spans_of(spans, by):
            by.add(span)
    for name, labels, amount in counts if isinstance(counts, list) else ():
        counter(name).add_all({tuple(labels): amount})
