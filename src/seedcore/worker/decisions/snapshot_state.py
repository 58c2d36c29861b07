"""The snapshot that a worker decides with: what the Coordinator publishes, kept up to date by its answers."""

import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from seedcore.decision.fleet_table import Fleet
from seedcore.decision.policy import Policy, parse_policy
from seedcore.decision.routing_table import RoutingTable
from seedcore.decision.rulings import PolicyContext
from seedcore.decision.stream_status import UNWATCHED, ActiveHold, StreamKey, StreamStatus, stream_name
from seedcore.errors import InvalidInputError, UnavailableError
from seedcore.pricing.learned_json import Learned
from seedcore.schemas.snapshot import (
    SNAPSHOT_FORMAT,
    HoldJson,
    SnapshotParts,
    SnapshotUpdate,
    StoredSnapshotJson,
)
from seedcore.telemetry.logs import get_logger
from seedcore.worker.decisions.report_collector import ReportBody

STALE_S = 5.0
"""Decisions name the age of a snapshot that is older: while a Coordinator answers, it is confirmed every second."""


@dataclass(frozen=True, slots=True)
class WorkerHold:
    """A held stream as a worker knows it; `until` is UTC in seconds since 1970."""

    reason: str
    wait_s: float | None
    until: float


class StreamTable:
    """Status, salience and holds of streams, by name; see `decision.stream_status.StatusLookup` and `HoldLookup`."""

    def __init__(self) -> None:
        self.statuses: dict[str, StreamStatus] = {}
        self.salience: dict[str, float] = {}
        self._holds: dict[str, WorkerHold] = {}

    def status(self, key: StreamKey) -> StreamStatus:
        """The status of a stream; UNWATCHED when it has no monitor."""
        return self.statuses.get(stream_name(*key), UNWATCHED)

    def of(self, stream: str) -> ActiveHold | None:
        """The hold of a stream; None: it is not held, or the hold has ended."""
        hold = self._holds.get(stream)
        return hold if hold is not None and hold.until > time.time() else None

    def __bool__(self) -> bool:
        return bool(self._holds)

    def set_holds(self, holds: dict[str, HoldJson]) -> None:
        """Adopt the held streams."""
        self._holds = {name: WorkerHold(hold["reason"], hold["wait_s"], hold["until"]) for name, hold in holds.items()}


@dataclass(slots=True)
class SnapshotState:
    """What a worker knows, and how old that is.

    Attributes:
        name: the worker's own: what it waits for itself is not taken from the Coordinator.
        v: seconds² that one unit of cost weighs.
        generation, version: of the snapshot; 0: there is none.
        source: `coordinator`, or `database` when no Coordinator has answered since the start; None: there is none.
        on_routing: called with each new routing table; None: nothing else follows it.
        counts: updates by kind, and those that were ignored.
    """

    name: str
    v: float
    fleet: Fleet = field(default_factory=Fleet)
    streams: StreamTable = field(default_factory=StreamTable)
    policy: Policy | None = None
    recipe_types: frozenset[str] = frozenset()
    generation: int = 0
    version: int = 0
    source: str | None = None
    on_routing: Callable[[RoutingTable], None] | None = None
    counts: dict[str, int] = field(
        default_factory=lambda: {"whole_updates": 0, "changes": 0, "ignored_updates": 0, "from_database": 0}
    )
    _confirmed_at: float | None = None
    _policy_version: str | None = None
    _no_policy: str = "no Coordinator has published one yet"

    @property
    def age_s(self) -> float | None:
        """Seconds since a Coordinator confirmed it; None: there is none."""
        return None if self._confirmed_at is None else time.monotonic() - self._confirmed_at

    @property
    def stale_s(self) -> float | None:
        """The age, when the Coordinator has been silent for long; None while it answers."""
        age = self.age_s
        return age if age is not None and age > STALE_S else None

    @property
    def ready(self) -> bool:
        """Whether there are a routing table and a policy."""
        return self.fleet.epoch > 0 and self.policy is not None

    def context(self, plans_per_minute: int) -> PolicyContext:
        """What the policy is applied with.

        Raises:
            UnavailableError: there is no routing table or no policy yet.
        """
        if self.fleet.epoch == 0:
            raise UnavailableError("There is no snapshot yet: no Coordinator has answered.", retry_after_s=1)
        if self.policy is None:
            raise UnavailableError(f"There is no policy: {self._no_policy}.", retry_after_s=1)
        streams, salience = self.streams, self.streams.salience
        return PolicyContext(self.policy, streams, plans_per_minute, self.recipe_types, streams, salience)

    def apply(self, update: SnapshotUpdate, unheard: Iterable[ReportBody]) -> bool:
        """Adopt an answer of the Coordinator; False when it was ignored.

        Args:
            update: of this release's format, of no earlier generation, and whole or for the version that is known.
            unheard: what this worker reported or will report, and the Coordinator had not heard: it counts on top of
                rates that come whole.
        """
        known = (self.generation, self.version)
        other = (update["generation"], update["version"])
        fits = update["whole"] or (other[0] == known[0] and other[1] >= known[1])
        if update["format"] != SNAPSHOT_FORMAT or other[0] < known[0] or not fits:
            self.counts["ignored_updates"] += 1
            return False
        parts = update["parts"]
        self.fleet.renew_reports()
        self._adopt(parts, whole=update["whole"])
        types = None if update["whole"] else parts.get("rates", {}).keys()
        self._learn_again(unheard, types)
        for learned in update["learned"]:
            self._learn(learned)
        self.generation, self.version = other
        self._confirmed_at, self.source = time.monotonic(), "coordinator"
        self.counts["whole_updates" if update["whole"] else "changes"] += 1
        return True

    def load(self, stored: StoredSnapshotJson, age_s: float) -> bool:
        """Adopt the snapshot that the database keeps; False when it is of another format, or something is known."""
        if stored["format"] != SNAPSHOT_FORMAT or stored["generation"] < self.generation or self.source is not None:
            self.counts["ignored_updates"] += 1
            return False
        self._adopt(stored["parts"], whole=True)
        # Version 0: the Coordinator sends the whole again, for what it knows may be older than what it published.
        self.generation, self.version = stored["generation"], 0
        self._confirmed_at, self.source = time.monotonic() - age_s, "database"
        self.counts["from_database"] += 1
        return True

    def _adopt(self, parts: SnapshotParts, *, whole: bool) -> None:
        fleet = self.fleet
        if "routing" in parts:
            fleet.update(parts["routing"])
            if self.on_routing is not None:
                self.on_routing(parts["routing"])
        if "rates" in parts or "money" in parts:
            fleet.replace_rates(parts.get("rates", {}), parts.get("money", {}), whole=whole)
        if "policy" in parts:
            self._compile(parts)
        if "streams" in parts:
            changed = {name: StreamStatus(*fields) for name, fields in parts["streams"].items()}
            self.streams.statuses = changed if whole else self.streams.statuses | changed
        if whole or "salience" in parts:
            known = {} if whole else self.streams.salience
            merged = known | parts.get("salience", {})
            self.streams.salience = {name: score for name, score in merged.items() if score is not None}
        if "holds" in parts:
            self.streams.set_holds(parts["holds"])
        self.recipe_types = frozenset(parts.get("recipe_types", self.recipe_types))
        self.v = parts.get("v", self.v)
        for worker, waiting in parts.get("backlog", {}).items():
            if worker != self.name:
                # What runs here is counted here, and is never as old as a report.
                fleet.report(worker, [item for item in waiting if fleet.host_of(item[0]) != self.name])

    def _compile(self, parts: SnapshotParts) -> None:
        given = parts["policy"]
        if given is None:
            self.policy, self._policy_version = None, None
            self._no_policy = "the Coordinator has none that it can load"
        elif given["version"] != self._policy_version:
            try:
                self.policy = parse_policy(given["text"].encode(), given["source"])
            except InvalidInputError as error:
                # A Coordinator of another release knows more than this one: the policy before stays in force.
                self._no_policy = error.detail
                get_logger("seedcore.worker").error("published policy not usable", reason=error.detail)
            self._policy_version = given["version"]

    def _learn(self, learned: Learned) -> None:
        agent, task_type = learned["agent"], learned["type"]
        if learned["count"]:
            self.fleet.learn(agent, task_type, learned["count"], learned["seconds"], learned["successes"])
        if paid := learned.get("paid", 0):
            self.fleet.money_rates.add(agent, task_type, paid, learned.get("money", 0.0))

    def _learn_again(self, unheard: Iterable[ReportBody], types: Collection[str] | None) -> None:
        """Add this worker's own outcomes to the rates of `types` (None: of all) that came whole."""
        for body in unheard:
            for (agent, task_type), (count, seconds, good) in body.outcomes.items():
                if types is None or task_type in types:
                    self.fleet.learn(agent, task_type, count, seconds, good)
            for (agent, task_type), (paid, money) in body.spent.items():
                if types is None or task_type in types:
                    self.fleet.money_rates.add(agent, task_type, paid, money)
