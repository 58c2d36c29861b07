"""Monitors all live streams: each (domain, type) has one monitor for its work and one for its outcomes."""

import math
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from seedcore.changepoint.features import OUTCOME_COLUMNS, SUCCESS, TASK_COLUMNS
from seedcore.coordinator.monitors.row_merge import MEMBER_S, SILENT_S, RowMerge
from seedcore.coordinator.monitors.stream_monitor import CALM, State, StreamMonitor
from seedcore.decision.stream_status import LEARNING, UNWATCHED, StreamKey, StreamStatus, stream_name
from seedcore.schemas.stream_rows import StreamRows
from seedcore.telemetry.metrics import counter, gauge

_EVIDENCE, _ALARMS = gauge("seedcore_valve_evidence"), counter("seedcore_valve_alarms_total")

MAX_STREAMS = 256
"""Streams that are monitored; tasks of further ones are only counted."""


@dataclass(slots=True)
class MonitoredStream:
    """A stream's two monitors, and its status for decisions.

    Attributes:
        seen: its tasks.
        counted_alarms: alarms that the metric has, or that were before this process.
        merges: rows for each monitor that wait for other workers.
        reporters: when each worker last reported rows with their places.
    """

    name: str
    work: StreamMonitor = field(default_factory=lambda: StreamMonitor(TASK_COLUMNS))
    outcome: StreamMonitor = field(default_factory=lambda: StreamMonitor(OUTCOME_COLUMNS))
    seen: int = 0
    counted_alarms: int = 0
    status: StreamStatus = LEARNING
    merges: dict[str, RowMerge] = field(
        default_factory=lambda: {"work": RowMerge(TASK_COLUMNS), "outcome": RowMerge(OUTCOME_COLUMNS)}
    )
    reporters: dict[str, float] = field(default_factory=dict)

    @property
    def monitors(self) -> dict[str, StreamMonitor]:
        """The monitors by name."""
        return {"work": self.work, "outcome": self.outcome}

    @property
    def state(self) -> State:
        """Open when one monitor is; learning while the work has no valve."""
        states = [monitor.state for monitor in self.monitors.values()]
        return "open" if "open" in states else self.work.state

    @property
    def waiting(self) -> int:
        """Rows that no monitor has seen yet."""
        return sum(map(len, self.merges.values()))

    def add(self, rows: StreamRows) -> None:
        """Let rows wait for `feed`; a monitor sees those without places in the stream at once."""
        self._add("work", rows.get("tasks", ()), rows.get("order"))
        self._add("outcome", rows.get("outcomes", ()), rows.get("outcome_order"))

    def note_report(self, reporter: str) -> None:
        """A worker has reported all that it had claimed of this stream."""
        for merge in self.merges.values():
            merge.note_report(reporter)

    def feed(self, workers: Collection[str]) -> bool:
        """Give the monitors the rows that none of `workers` can report something before; whether there were any."""
        fed = False
        for name, monitor in self.monitors.items():
            rows = self.merges[name].take(workers)
            monitor.observe(rows)
            fed = fed or len(rows) > 0
        return fed

    def _add(self, name: str, rows: Sequence[Sequence[float]], places: Sequence[int] | None) -> None:
        monitor = self.monitors[name]
        # A dispatcher of another release may send other features, which are not comparable.
        known = [n for n, row in enumerate(rows) if len(row) == monitor.columns]
        found = np.array([rows[n] for n in known], dtype=np.float32).reshape(len(known), monitor.columns)
        if places is None or len(places) != len(rows):
            monitor.observe(found)
        else:
            self.merges[name].add([places[n] for n in known], found)

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
        if known:
            _EVIDENCE.set(round(max(known), 3), stream=self.name)
        alarms = self.work.alarms + self.outcome.alarms
        if alarms > self.counted_alarms:
            _ALARMS.add(alarms - self.counted_alarms, stream=self.name)
            self.counted_alarms = alarms

    def report(self) -> dict[str, object]:
        """The stream as JSON."""
        head = {"stream": self.name, "state": self.state, "evidence": self.status.evidence, "tasks": self.seen}
        head |= {"sampled": self.work.observed + len(self.merges["work"]) < self.seen, "waiting": self.waiting}
        return head | {name: monitor.report() for name, monitor in self.monitors.items()}


@dataclass(slots=True)
class StreamMonitors:
    """All streams by name. Rows are ignored until the stored streams are restored, which would replace new ones.

    Rows of several workers are merged by their places in the stream; call `feed` a few times a second while some wait.
    """

    threshold: float = 0.5
    restored: bool = False
    missed: int = 0
    unwatched: int = 0
    clock: Callable[[], float] = time.monotonic
    _streams: dict[str, MonitoredStream] = field(default_factory=dict)
    _waiting: dict[str, MonitoredStream] = field(default_factory=dict)
    _heard: dict[str, float] = field(default_factory=dict)

    def observe(self, reported: Iterable[StreamRows], reporter: str = "") -> None:
        """Process the rows of a worker's report, and that it has no others."""
        now = self.clock()
        _note(self._heard, reporter, now)
        concerned = []
        for rows in reported:
            seen = rows.get("seen", 0)
            if not self.restored:
                self.missed += seen
            elif (stream := self._stream(stream_name(rows.get("domain"), rows["type"]))) is None:
                self.unwatched += seen
            else:
                stream.seen += seen
                if "order" in rows:
                    _note(stream.reporters, reporter, now)
                stream.add(rows)
                concerned.append(stream)
                if stream.waiting:
                    self._waiting[stream.name] = stream
        for stream in self._waiting.values():
            stream.note_report(reporter)
        # The others' turn comes with their own reports, or a moment later.
        self._feed(concerned, now)

    @property
    def waiting(self) -> bool:
        """Whether rows wait for reports of other workers."""
        return bool(self._waiting)

    def feed(self) -> bool:
        """Give the monitors what need not wait any longer; whether there was something."""
        return self._feed(list(self._waiting.values()), self.clock())

    def feed_all(self) -> None:
        """Give the monitors all that waits."""
        self._heard.clear()
        self.feed()

    def _feed(self, streams: Iterable[MonitoredStream], now: float) -> bool:
        fed = False
        for stream in streams:
            workers = [
                worker
                for worker, at in stream.reporters.items()
                if now - at < MEMBER_S and now - self._heard.get(worker, float("-inf")) < SILENT_S
            ]
            fed = stream.feed(workers) or fed
            stream.update_status(self.threshold)
            if not stream.waiting:
                self._waiting.pop(stream.name, None)
        return fed

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
            stream.counted_alarms = stream.work.alarms + stream.outcome.alarms
            stream.update_status(self.threshold)
        self.restored = True

    def _stream(self, name: str) -> MonitoredStream | None:
        stream = self._streams.get(name)
        if stream is None and len(self._streams) < MAX_STREAMS:
            stream = self._streams[name] = MonitoredStream(name)
        return stream


def _note(times: dict[str, float], worker: str, now: float) -> None:
    """Note when a worker reported; a new one takes the place of those that have gone."""
    if worker not in times:
        for gone in [name for name, at in times.items() if now - at >= MEMBER_S]:
            del times[gone]
    times[worker] = now
