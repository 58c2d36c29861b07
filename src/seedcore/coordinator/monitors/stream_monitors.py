"""The valves of all live streams: a stream is a (domain, type)."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from seedcore.changepoint.features import OUTCOME_COLUMNS, SUCCESS, TASK_COLUMNS
from seedcore.coordinator.monitors.stream_monitor import CALM, State, Watch
from seedcore.schemas.coordinator import StreamRows

MAX_STREAMS = 256
"""Streams that are watched; more are counted, and go unwatched."""

Key = tuple[str | None, str]


class Standing(NamedTuple):
    """What a decision may know about a stream; evidence None: there is no valve yet.

    `shifted`: the valve of its work is open, whatever its outcomes do.
    """

    state: str
    evidence: float | None = None
    work: float | None = None
    outcome: float | None = None
    shifted: bool = False


UNWATCHED = Standing("unwatched")
LEARNING = Standing("learning")


def stream_name(domain: str | None, type_: str) -> str:
    """How a stream is called: `type`, or `domain/type`."""
    return type_ if domain is None else f"{domain}/{type_}"


@dataclass(slots=True)
class Stream:
    """A stream's two watches."""

    name: str
    work: Watch = field(default_factory=lambda: Watch(TASK_COLUMNS))
    outcome: Watch = field(default_factory=lambda: Watch(OUTCOME_COLUMNS))
    seen: int = 0
    standing: Standing = LEARNING

    @property
    def watches(self) -> dict[str, Watch]:
        """By name."""
        return {"work": self.work, "outcome": self.outcome}

    @property
    def state(self) -> State:
        """Open when one is; learning while the work has no valve."""
        states = [watch.state for watch in self.watches.values()]
        return "open" if "open" in states else self.work.state

    def succeeds(self, least: float) -> bool:
        """Whether of its last CALM outcomes that share at least succeeded."""
        good = self.outcome.recent[-CALM:, SUCCESS]
        return len(good) == CALM and float(good.mean()) >= least

    def stand(self, threshold: float) -> None:
        """Take stock, evidence rescaled so that an alarm is at `threshold`."""
        scale = math.log1p(-threshold) / math.log(0.5)
        work, outcome = (
            None if watch.evidence is None else 1.0 - (1.0 - watch.evidence) ** scale for watch in self.watches.values()
        )
        known = [value for value in (work, outcome) if value is not None]
        shifted = self.work.state == "open"
        self.standing = Standing(self.state, max(known) if known else None, work, outcome, shifted)

    def report(self) -> dict[str, Any]:
        """What is to be known about it."""
        told = {"stream": self.name, "state": self.state, "evidence": self.standing.evidence, "tasks": self.seen}
        sampled = self.work.observed < self.seen
        return told | {"sampled": sampled} | {name: watch.report() for name, watch in self.watches.items()}


@dataclass(slots=True)
class Streams:
    """All streams by name. Until the stored ones are there nothing is taken in: they must not start anew."""

    threshold: float = 0.5
    restored: bool = False
    missed: int = 0
    unwatched: int = 0
    _streams: dict[str, Stream] = field(default_factory=dict)

    def take(self, told: Iterable[StreamRows]) -> None:
        """Take in what a dispatcher tells."""
        for rows in told:
            if not self.restored:
                self.missed += rows.seen
            elif (stream := self._stream(stream_name(rows.domain, rows.type))) is None:
                self.unwatched += rows.seen
            else:
                stream.seen += rows.seen
                stream.work.observe(_array(rows.tasks, TASK_COLUMNS))
                stream.outcome.observe(_array(rows.outcomes, OUTCOME_COLUMNS))
                stream.stand(self.threshold)

    def standing(self, key: Key) -> Standing:
        """What is known about a stream."""
        stream = self._streams.get(stream_name(*key))
        return UNWATCHED if stream is None else stream.standing

    def get(self, name: str) -> Stream | None:
        """A stream by its name."""
        return self._streams.get(name)

    def all(self) -> list[Stream]:
        """Every stream, by name."""
        return [self._streams[name] for name in sorted(self._streams)]

    def restore(self, streams: Iterable[Stream]) -> None:
        """Go on from what was stored."""
        for stream in streams:
            self._streams[stream.name] = stream
            stream.stand(self.threshold)
        self.restored = True

    def _stream(self, name: str) -> Stream | None:
        stream = self._streams.get(name)
        if stream is None and len(self._streams) < MAX_STREAMS:
            stream = self._streams[name] = Stream(name)
        return stream


def _array(rows: list[list[float]], columns: int) -> Any:
    # A dispatcher of another release tells other features: they are no observations of this one's.
    fitting = [row for row in rows if len(row) == columns]
    return np.array(fitting, dtype=np.float32).reshape(len(fitting), columns)
