"""Monitors all live streams: each (domain, type) has one monitor for its work and one for its outcomes."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from seedcore.changepoint.features import OUTCOME_COLUMNS, SUCCESS, TASK_COLUMNS
from seedcore.coordinator.monitors.stream_monitor import CALM, State, StreamMonitor
from seedcore.decision.stream_status import LEARNING, UNWATCHED, StreamKey, StreamStatus, stream_name
from seedcore.schemas.coordinator import StreamRows

MAX_STREAMS = 256
"""Streams that are monitored; tasks of further ones are only counted."""


@dataclass(slots=True)
class MonitoredStream:
    """A stream's two monitors, and its status for decisions."""

    name: str
    work: StreamMonitor = field(default_factory=lambda: StreamMonitor(TASK_COLUMNS))
    outcome: StreamMonitor = field(default_factory=lambda: StreamMonitor(OUTCOME_COLUMNS))
    seen: int = 0
    status: StreamStatus = LEARNING

    @property
    def monitors(self) -> dict[str, StreamMonitor]:
        """The monitors by name."""
        return {"work": self.work, "outcome": self.outcome}

    @property
    def state(self) -> State:
        """Open when one monitor is; learning while the work has no valve."""
        states = [monitor.state for monitor in self.monitors.values()]
        return "open" if "open" in states else self.work.state

    def succeeds(self, min_share: float) -> bool:
        """Whether at least `min_share` of the last CALM outcomes succeeded."""
        good = self.outcome.recent[-CALM:, SUCCESS]
        return len(good) == CALM and float(good.mean()) >= min_share

    def update_status(self, threshold: float) -> None:
        """Derive the status, with evidence rescaled so that an alarm is at `threshold`."""
        scale = math.log1p(-threshold) / math.log(0.5)
        work, outcome = (
            None if monitor.evidence is None else 1.0 - (1.0 - monitor.evidence) ** scale
            for monitor in self.monitors.values()
        )
        known = [value for value in (work, outcome) if value is not None]
        shifted = self.work.state == "open"
        self.status = StreamStatus(self.state, max(known) if known else None, work, outcome, shifted)

    def report(self) -> dict[str, object]:
        """The stream as JSON."""
        head = {"stream": self.name, "state": self.state, "evidence": self.status.evidence, "tasks": self.seen}
        sampled = self.work.observed < self.seen
        return head | {"sampled": sampled} | {name: monitor.report() for name, monitor in self.monitors.items()}


@dataclass(slots=True)
class StreamMonitors:
    """All streams by name. Rows are ignored until the stored streams are restored, which would replace new ones."""

    threshold: float = 0.5
    restored: bool = False
    missed: int = 0
    unwatched: int = 0
    _streams: dict[str, MonitoredStream] = field(default_factory=dict)

    def observe(self, reported: Iterable[StreamRows]) -> None:
        """Process the rows of a dispatcher's report."""
        for rows in reported:
            seen = rows.get("seen", 0)
            if not self.restored:
                self.missed += seen
            elif (stream := self._stream(stream_name(rows.get("domain"), rows["type"]))) is None:
                self.unwatched += seen
            else:
                stream.seen += seen
                stream.work.observe(_array(rows.get("tasks", ()), TASK_COLUMNS))
                stream.outcome.observe(_array(rows.get("outcomes", ()), OUTCOME_COLUMNS))
                stream.update_status(self.threshold)

    def status(self, key: StreamKey) -> StreamStatus:
        """The status of a stream."""
        stream = self._streams.get(stream_name(*key))
        return UNWATCHED if stream is None else stream.status

    def get(self, name: str) -> MonitoredStream | None:
        """A stream by its name."""
        return self._streams.get(name)

    def all(self) -> list[MonitoredStream]:
        """Every stream, by name."""
        return [self._streams[name] for name in sorted(self._streams)]

    def restore(self, streams: Iterable[MonitoredStream]) -> None:
        """Continue from the stored streams."""
        for stream in streams:
            self._streams[stream.name] = stream
            stream.update_status(self.threshold)
        self.restored = True

    def _stream(self, name: str) -> MonitoredStream | None:
        stream = self._streams.get(name)
        if stream is None and len(self._streams) < MAX_STREAMS:
            stream = self._streams[name] = MonitoredStream(name)
        return stream


def _array(rows: Sequence[Sequence[float]], columns: int) -> npt.NDArray[np.float32]:
    # A dispatcher of another release may send other features, which are not comparable.
    matching = [row for row in rows if len(row) == columns]
    return np.array(matching, dtype=np.float32).reshape(len(matching), columns)
