"""The context of a trace as it travels: `traceparent` of W3C Trace Context, and the ids that follow from a task."""

import re
from typing import NamedTuple

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_MASK = (1 << 64) - 1


class TraceContext(NamedTuple):
    """A span that others are below: ids as numbers, and whether the trace is recorded."""

    trace_id: int
    span_id: int
    sampled: bool

    @property
    def traceparent(self) -> str:
        """As a header has it."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{self.sampled:02x}"


def parse_traceparent(text: str | None) -> TraceContext | None:
    """The context that a `traceparent` names; None when it is not a valid one, as the standard demands."""
    match = None if text is None else _TRACEPARENT.fullmatch(text)
    if match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    if version == "ff" or (version == "00" and more is not None):
        return None
    context = TraceContext(int(trace_id, 16), int(span_id, 16), bool(int(flags, 16) & 1))
    return context if context.trace_id and context.span_id else None


def submit_span_id(task_id: int) -> int:
    """The id of the span that a task's others are below, the same in every process."""
    return _mixed(task_id >> 64 ^ _mixed(task_id & _MASK))


def run_span_id(task_id: int, token: int) -> int:
    """The id of the span of one attempt, which its lease's token tells from all others."""
    return _mixed(_mixed(task_id & _MASK) + token)


def _mixed(value: int) -> int:
    """splitmix64's last step: one to one, so that different values have different ids; never 0, which is no id."""
    value = value + 0x9E3779B97F4A7C15 & _MASK
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    value = (value ^ value >> 27) * 0x94D049BB133111EB & _MASK
    return value ^ value >> 31 or 1
