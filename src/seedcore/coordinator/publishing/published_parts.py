"""The published snapshot part by part, each with the version at which it changed."""

from collections.abc import Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar, cast

from seedcore.decision.routing_table import RoutingTable
from seedcore.schemas.snapshot import HoldJson, PolicyJson, SnapshotParts, StreamStatusJson

Value = TypeVar("Value")
Outstanding = list[tuple[str, str, int]]

MAX_GONE = 200
"""Reporters that are published as waiting for nothing; of more, the earliest are forgotten."""


class CurrentState(NamedTuple):
    """What is in force at the Coordinator, besides what was learned and the backlog."""

    routing: RoutingTable
    policy: PolicyJson | None
    streams: Mapping[str, StreamStatusJson]
    salience: Mapping[str, float]
    holds: Mapping[str, HoldJson]
    recipe_types: Sequence[str]
    v: float


class _Versioned(NamedTuple, Generic[Value]):
    """A value and the version at which it changed; `mark` is equal as long as the value is."""

    value: Value
    version: int
    mark: object


class PublishedParts:
    """The parts that are published; what changes counts from the next version on, which `publish` begins.

    Attributes:
        version: of the snapshot.
        urgent: the version of the last change that waiting exchanges are woken for.
        floor: who knows a version below this gets the whole snapshot.
    """

    def __init__(self) -> None:
        self.version = self.urgent = self.floor = 0
        self._dirty = False
        self._single: dict[str, _Versioned[object]] = {}
        self._streams: dict[str, _Versioned[StreamStatusJson]] = {}
        self._salience: dict[str, _Versioned[float | None]] = {}
        self._backlog: dict[str, _Versioned[Outstanding]] = {}

    @property
    def next_version(self) -> int:
        """The version that includes what changes now."""
        return self.version + 1

    def touch(self) -> None:
        """Something changed that is published beside these parts."""
        self._dirty = True

    def observe(self, state: CurrentState) -> None:
        """Note what differs from what is published."""
        # A table is known by its epoch: comparing the content of a large one takes long.
        self._set("routing", state.routing, state.routing["epoch"])
        self._set("policy", state.policy, None if state.policy is None else state.policy["version"])
        self._set("holds", state.holds, state.holds)
        self._set("v", state.v, state.v)
        self._set("recipe_types", state.recipe_types, state.recipe_types, urgent=False)
        for name, status in state.streams.items():
            known = self._streams.get(name)
            if known is None or known.value != status:
                self._streams[name] = _Versioned(status, self.next_version, status)
                self._changed(urgent=known is None or _signal(known.value) != _signal(status))
        for name in state.salience.keys() | self._salience.keys():
            score, before = state.salience.get(name), self._salience.get(name)
            if (None if before is None else before.value) != score:
                self._salience[name] = _Versioned(score, self.next_version, score)
                self._changed(urgent=False)

    def _set(self, name: str, value: object, mark: object, *, urgent: bool = True) -> None:
        known = self._single.get(name)
        if known is None or known.mark != mark:
            self._single[name] = _Versioned(value, self.next_version, mark)
            self._changed(urgent=urgent)

    def _changed(self, *, urgent: bool) -> None:
        self._dirty = True
        if urgent:
            self.urgent = self.next_version

    def set_backlog(self, reporter: str, outstanding: Outstanding) -> None:
        """Publish what a reporter waits for; an empty list for one that has gone."""
        known = self._backlog.get(reporter)
        if outstanding == ([] if known is None else known.value):
            return
        self._backlog[reporter] = _Versioned(outstanding, self.next_version, None)
        self._dirty = True
        idle = sorted((entry.version, name) for name, entry in self._backlog.items() if not entry.value)
        for version, name in idle[: max(0, len(idle) - MAX_GONE)]:
            del self._backlog[name]
            self.floor = max(self.floor, version)

    def publish(self) -> bool:
        """Begin a new version when something changed; returns whether it did."""
        if not self._dirty:
            return False
        self.version, self._dirty = self.next_version, False
        return True

    def since(self, version: int, reader: str | None) -> SnapshotParts:
        """What changed since a version, without what the reader itself waits for."""
        found: dict[str, object] = {name: part.value for name, part in self._single.items() if part.version > version}
        streams = {name: part.value for name, part in self._streams.items() if part.version > version}
        if streams:
            found["streams"] = streams
        salience = {name: part.value for name, part in self._salience.items() if part.version > version}
        if salience:
            found["salience"] = salience
        backlog = {name: p.value for name, p in self._backlog.items() if p.version > version and name != reader}
        if backlog:
            found["backlog"] = backlog
        return cast("SnapshotParts", found)

    def whole(self, reader: str | None) -> SnapshotParts:
        """Every part."""
        salience: dict[str, float | None] = {
            name: part.value for name, part in self._salience.items() if part.value is not None
        }
        return {"streams": {}, "backlog": {}, **self.since(-1, reader), "salience": salience}


def _signal(status: StreamStatusJson) -> tuple[str, bool, bool]:
    """What matters at once: the state, whether there is a valve, and whether the work has shifted."""
    state, evidence, _, _, shifted = status
    return state, evidence is not None, shifted
