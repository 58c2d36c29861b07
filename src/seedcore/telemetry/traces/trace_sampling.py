"""Which traces are recorded: every process answers alike, from the trace's id alone."""

from seedcore.settings import Settings

RANDOM_BITS = 56
"""Of a trace's id the last 56 bits are random (W3C Trace Context level 2), also where it is a task's id: a UUID of
version 7 has its time and its variant above them."""

_MASK = (1 << RANDOM_BITS) - 1


class TraceSampling:
    """The sampler that the settings name.

    Attributes:
        parent_based: a caller that says whether it records decides for what it calls, too.
    """

    def __init__(self, settings: Settings) -> None:
        name = settings.otel_traces_sampler
        self.parent_based = name.startswith("parentbased_")
        kind = name.removeprefix("parentbased_")
        ratio = {"always_on": 1.0, "always_off": 0.0}.get(kind, settings.otel_traces_sampler_arg)
        self._threshold = round((1.0 - ratio) * (1 << RANDOM_BITS))

    def records(self, trace_id: int) -> bool:
        """Whether the trace is recorded, where no caller says so."""
        return trace_id & _MASK >= self._threshold

    def follows(self, trace_id: int, caller_records: bool) -> bool:
        """Whether a trace that a caller began is recorded."""
        return caller_records if self.parent_based else self.records(trace_id)
