"""Keeps what the Coordinator rules with: the policy in force, the live monitors and holds, and recent plans."""

import asyncio
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TypedDict

from seedcore.coordinator.monitors.maintenance import MonitorMaintenance
from seedcore.coordinator.monitors.stream_holds import StreamHolds
from seedcore.coordinator.monitors.stream_monitors import MAX_STREAMS, StreamMonitors
from seedcore.coordinator.policy_file import load_policy
from seedcore.decision.policy import Policy
from seedcore.decision.rulings import PolicyContext
from seedcore.decision.triage_policy import TriagePolicy
from seedcore.errors import InvalidInputError, UnavailableError
from seedcore.schemas.coordinator import StreamRows
from seedcore.settings import Settings
from seedcore.stores.postgres import DATABASE_ERRORS, Database
from seedcore.telemetry.logs import get_logger

MINUTE_S = 60.0


class PolicyHealth(TypedDict):
    """The runtime's part of the Coordinator's health."""

    policy: dict[str, object]
    valves: dict[str, object]
    plans: dict[str, int]


class PolicyRuntime:
    """The policy and what it is applied with. Without a policy nothing is decided: tasks wait, and health says why."""

    def __init__(self, settings: Settings, database: Database, actions: Collection[str] = ()) -> None:
        self._actions = actions
        self._path: Path | None = settings.policy_path
        self._log = get_logger("seedcore.coordinator")
        self.streams = StreamMonitors(settings.drift_threshold)
        self.holds = StreamHolds(database)
        self.maintenance = MonitorMaintenance(self.streams, database, settings.arl0, settings.recipe_least, self.holds)
        self._arl0 = settings.arl0
        self._policy: Policy | None = None
        self._load_error: str | None = None
        self._reloads = 0
        self.unplanned = 0
        """Tasks that were to be planned and ran as they are, because no plan was available."""
        self._plans: deque[tuple[float, int]] = deque(maxlen=10_000)
        self._running: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Load the policy, and start the maintenance of the monitors."""
        try:
            self._policy = load_policy(self._path, self._actions)
        except InvalidInputError as error:
            self._load_error = error.detail
            self._log.error("policy not loaded, deciding nothing", reason=error.detail)
        self._running = asyncio.create_task(self.maintenance.run(), name="valves")

    async def aclose(self) -> None:
        """Stop the maintenance, and save the monitors."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
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
            plans_per_minute=self._plans_per_minute(),
            recipe_types=self.maintenance.recipe_types,
            holds=self.holds,
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

    def _in_force(self) -> Policy:
        if self._policy is None:
            raise UnavailableError(f"There is no policy: {self._load_error}", retry_after_s=5)
        return self._policy

    def record_report(self, streams: Sequence[StreamRows], unplanned: int = 0) -> None:
        """Process a dispatcher's report: rows for the monitors, and the number of tasks without a plan."""
        self.streams.observe(streams)
        self.unplanned += unplanned

    def record_decisions(self, counts: Mapping[tuple[str | None, str], int]) -> None:
        """Count the tasks that go to be planned, by route and rule."""
        plans = sum(count for (route, _), count in counts.items() if route == "plan")
        if plans:
            self._plans.append((time.monotonic(), plans))

    def reload(self) -> dict[str, object]:
        """Read the policy file again.

        Raises:
            InvalidInputError: the file is wrong; the previous policy stays in force.
        """
        before = None if self._policy is None else self._policy.version
        self._policy = load_policy(self._path, self._actions)
        self._load_error = None
        self._reloads += 1
        self._log.info("policy loaded", version=self._policy.version, before=before, rules=len(self._policy.rules))
        return {**self.policy(), "changed": before != self._policy.version}

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
        policy: dict[str, object] = {"ready": self._policy is not None}
        if self._policy is not None:
            policy["version"] = self._policy.version
        if self._load_error is not None:
            policy["reason"] = self._load_error
        states = [stream.state for stream in self.streams.all()]
        return {
            "policy": policy,
            "valves": {"streams": len(states), "open": states.count("open"), "failing": self.maintenance.failing},
            "plans": {"unplanned": self.unplanned},
        }

    def _plans_per_minute(self) -> int:
        since = time.monotonic() - MINUTE_S
        while self._plans and self._plans[0][0] < since:
            self._plans.popleft()
        return sum(count for _, count in self._plans)
