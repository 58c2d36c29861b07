"""Samples a worker's tasks for the Coordinator's valves: features of a few tasks of each stream, never payloads."""

import time
from dataclasses import dataclass, field

import orjson

from seedcore.changepoint.features import outcome_features, task_features
from seedcore.schemas.stream_rows import StreamRows
from seedcore.skills.host_protocol import Completion
from seedcore.tasks.model import Lease

SAMPLE = 250
"""Tasks of a stream in one report, at most; of more, evenly spread ones: at least half as many."""

OUTCOMES = 10
"""Outcomes of a stream in one report, the first ones: those that ran together are alike."""

MAX_READ = 65_536
"""Longer params, in characters, are not read: of them only the length counts."""

MAX_STREAMS = 200
"""Streams in one report; tasks of others are counted as missed."""

MAX_NAME = 200
"""Characters of a domain or a type; the Coordinator refuses reports with longer ones, which SQL clients can write."""

Stream = tuple[str | None, str]


@dataclass(slots=True)
class StreamSample:
    """Rows of one stream: every `step`-th of `seen` tasks, the first few outcomes, and the place of each in order."""

    seen: int = 0
    step: int = 1
    tasks: list[list[float]] = field(default_factory=list)
    order: list[int] = field(default_factory=list)
    outcomes: list[list[float]] = field(default_factory=list)
    outcome_order: list[int] = field(default_factory=list)

    def add_task(self, task: Lease) -> None:
        """A task of the stream was claimed."""
        if self.seen % self.step == 0:
            if len(self.tasks) >= SAMPLE:
                self.tasks, self.order, self.step = self.tasks[::2], self.order[::2], 2 * self.step
            if self.seen % self.step == 0:
                self.tasks.append(features_of(task))
                self.order.append(task.seq)
        self.seen += 1

    def add_outcome(self, completion: Completion) -> None:
        """A task of the stream ended."""
        if len(self.outcomes) < OUTCOMES:
            error = None if completion.ok else completion.error_code or "failed"
            self.outcomes.append(outcome_features(completion.seconds, completion.ok, error))
            self.outcome_order.append(int(1e3 * time.time()))


class StreamSamples:
    """The samples of all streams since the last report."""

    def __init__(self) -> None:
        self._streams: dict[Stream, StreamSample] = {}
        self.missed = 0
        """Tasks and outcomes of streams beyond MAX_STREAMS in a report, or with too long a name."""

    def add_task(self, task: Lease) -> None:
        """A task was claimed; one that the valves have seen counts no more."""
        if not task.reported_to_valves and (stream := self._stream((task.domain, task.type))) is not None:
            task.reported_to_valves = True
            stream.add_task(task)

    def add_outcome(self, domain: str | None, completion: Completion) -> None:
        """A task ended."""
        if (stream := self._stream((domain, completion.skill))) is not None:
            stream.add_outcome(completion)

    def take(self) -> list[StreamRows]:
        """The rows by stream, in the shape of `schemas.coordinator.StreamRows`; the samples begin again."""
        taken, self._streams = self._streams, {}
        return [
            {
                "domain": domain,
                "type": type_,
                "seen": of.seen,
                "tasks": of.tasks,
                "order": of.order,
                "outcomes": of.outcomes,
                "outcome_order": of.outcome_order,
            }
            for (domain, type_), of in taken.items()
        ]

    def _stream(self, key: Stream) -> StreamSample | None:
        known = self._streams.get(key)
        if known is None:
            if len(self._streams) >= MAX_STREAMS or len(key[0] or "") > MAX_NAME or len(key[1]) > MAX_NAME:
                self.missed += 1
                return None
            known = self._streams[key] = StreamSample()
        return known


def read_params(task: Lease) -> object:
    """The params; None where they are too long, or hold a number too large for a double, which PostgreSQL keeps."""
    if len(task.params) > MAX_READ:
        return None
    try:
        params: object = orjson.loads(task.params)
    except orjson.JSONDecodeError:
        return None
    return params


def features_of(task: Lease) -> list[float]:
    """Features of a task, without the time of arrival: it changes by the hour and with every client, and says nothing
    about the work."""
    return task_features(task.type, read_params(task), size=len(task.params))
