"""Keeps what the Coordinator rules with: the policy in force, the live monitors and holds, and the budget of plans."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TypedDict

from seedcore.coordinator.monitors.maintenance import MonitorMaintenance
from seedcore.coordinator.monitors.row_feeder import RowFeeder
from seedcore.coordinator.monitors.stream_holds import StreamHolds
from seedcore.coordinator.monitors.stream_monitors import MAX_STREAMS, StreamMonitors
from seedcore.coordinator.monitors.stream_salience import ScoringService, StreamSalience
from seedcore.coordinator.policy_file import PolicyFile, read_policy
from seedcore.coordinator.publishing.plan_budget import PlanBudget
from seedcore.decision.policy import Policy
from seedcore.decision.rulings import PolicyContext
from seedcore.decision.triage_policy import TriagePolicy
from seedcore.errors import InvalidInputError, UnavailableError
from seedcore.schemas.snapshot import PolicyJson
from seedcore.schemas.stream_rows import StreamRows
from seedcore.settings import Settings
from seedcore.stores.postgres import DATABASE_ERRORS, Database
from seedcore.telemetry.logs import get_logger


class PolicyHealth(TypedDict):
    """The runtime's part of the Coordinator's health."""

    policy: dict[str, object]
    valves: dict[str, object]
    plans: dict[str, int]
    salience: dict[str, object]


class PolicyRuntime:
    """The policy and what it is applied with. Without a policy nothing is decided: tasks wait, and health says why.

    `changed` is set whenever something changes that workers should know at once.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        scorer: ScoringService,
        actions: Collection[str] = (),
        changed: asyncio.Event | None = None,
    ) -> None:
        self._actions = actions
        self._changed = changed or asyncio.Event()
        self._path: Path | None = settings.policy_path
        self._log = get_logger("seedcore.coordinator")
        self.streams = StreamMonitors(settings.drift_threshold)
        self.holds = StreamHolds(database, self._changed)
        self.maintenance = MonitorMaintenance(
            self.streams, database, settings.arl0, settings.recipe_least, self.holds, self._changed
        )
        self.salience = StreamSalience(self.streams, database, scorer, lambda: self._uses_salience, self._changed)
        self.budget = PlanBudget()
        self._arl0 = settings.arl0
        self._file: PolicyFile | None = None
        self._load_error: str | None = None
        self._reloads = 0
        self.unplanned = 0
        """Tasks that were to be planned and ran as they are, because no plan was available."""
        self._feeder = RowFeeder(self.streams, self._changed)
        self._running: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Load the policy, and start the maintenance of the monitors."""
        try:
            self._file = read_policy(self._path, self._actions)
        except InvalidInputError as error:
            self._load_error = error.detail
            self._log.error("policy not loaded, deciding nothing", reason=error.detail)
        self._running = [
            asyncio.create_task(self.maintenance.run(), name="valves"),
            asyncio.create_task(self._feeder.run(), name="feed monitors"),
            asyncio.create_task(self.salience.run(), name="score streams"),
        ]

    async def aclose(self) -> None:
        """Stop the maintenance, and save the monitors."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        self.streams.feed_all()
        try:
            await self.maintenance.save()
        except DATABASE_ERRORS as error:
            self._log.warning("valves not saved", reason=f"{type(error).__name__}: {error}")

    async def context(self) -> PolicyContext:
        """What decisions are made with now.

        Raises:
            UnavailableError: there is no policy, or the database does not answer before the first decision.
        """
        if not self.holds.loaded:
            await self.holds.load()
        return PolicyContext(
            policy=self._in_force(),
            monitors=self.streams,
            plans_per_minute=self.budget.spent(),
            recipe_types=self.maintenance.recipe_types,
            holds=self.holds,
            salience=self.salience.published,
        )

    @property
    def triage(self) -> TriagePolicy:
        """The policy for triages.

        Raises:
            UnavailableError: there is no policy.
        """
        return self._in_force().triage

    @property
    def version(self) -> str:
        """The version of the policy in force."""
        return self._in_force().version

    @property
    def published(self) -> PolicyJson | None:
        """The policy in force as workers get it; None: there is none."""
        return None if self._file is None else self._file.published

    @property
    def published_salience(self) -> Mapping[str, float]:
        """The salience of active streams as workers get it; empty while no rule asks for it."""
        return self.salience.published

    @property
    def _uses_salience(self) -> bool:
        return self._file is not None and self._file.policy.uses("salience")

    @property
    def loaded(self) -> bool:
        """Whether the stored monitors, holds and recipes have been read."""
        return self.maintenance.loaded

    def _in_force(self) -> Policy:
        if self._file is None:
            raise UnavailableError(f"There is no policy: {self._load_error}", retry_after_s=5)
        return self._file.policy

    def record_report(self, streams: Sequence[StreamRows], unplanned: int, reporter: str) -> None:
        """Process a worker's report: rows for the monitors, and the number of tasks without a plan."""
        self.streams.observe(streams, reporter)
        self._feeder.want()
        self.unplanned += unplanned

    def record_decisions(self, counts: Mapping[tuple[str | None, str], int]) -> None:
        """Count the tasks that go to be planned, by route and rule."""
        self.budget.count(sum(count for (route, _), count in counts.items() if route == "plan"))

    def record_failures(self, failures: Mapping[str, int]) -> None:
        """Count rules that workers could not evaluate; those of another policy than the one in force do not count."""
        if self._file is not None:
            known, counted = {rule.name for rule in self._file.policy.rules}, self._file.policy.failures
            for rule, count in failures.items():
                if rule in known:
                    counted[rule] = counted.get(rule, 0) + count

    def reload(self) -> dict[str, object]:
        """Read the policy file again.

        Raises:
            InvalidInputError: the file is wrong; the previous policy stays in force.
        """
        before = None if self._file is None else self._file.policy.version
        self._file = read_policy(self._path, self._actions)
        loaded, self._load_error = self._file.policy, None
        self._reloads += 1
        self._changed.set()
        self._log.info("policy loaded", version=loaded.version, before=before, rules=len(loaded.rules))
        return {**self.policy(), "changed": before != loaded.version}

    def policy(self) -> dict[str, object]:
        """The policy in force, as JSON."""
        return {**self._in_force().report(), "reloads": self._reloads}

    def valves(self) -> dict[str, object]:
        """Every stream, every hold, and counts of the tasks without a monitor, as JSON."""
        streams = self.streams
        return {
            "streams": [stream.report() for stream in streams.all()],
            "holds": self.holds.report(),
            "arl0": self._arl0,
            "threshold": streams.threshold,
            "limit": MAX_STREAMS,
            "unwatched_tasks": streams.unwatched,
            "missed_tasks": streams.missed,
            "restored": streams.restored,
            "failing": self.maintenance.failing,
        }

    def health(self) -> PolicyHealth:
        """Ready when there is a policy; valves that cannot be saved are reported, and keep serving."""
        policy: dict[str, object] = {"ready": self._file is not None}
        if self._file is not None:
            policy["version"] = self._file.policy.version
        if self._load_error is not None:
            policy["reason"] = self._load_error
        states = [stream.state for stream in self.streams.all()]
        return {
            "policy": policy,
            "valves": {"streams": len(states), "open": states.count("open"), "failing": self.maintenance.failing},
            "plans": {"unplanned": self.unplanned},
            "salience": self.salience.health(),
        }
