"""What the Coordinator judges by: the policy in force, the live valves, and how much was planned lately."""

import asyncio
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from seedcore.coordinator.monitors.maintenance import Tending
from seedcore.coordinator.monitors.stream_holds import Holds
from seedcore.coordinator.monitors.stream_monitors import MAX_STREAMS, Streams
from seedcore.decision.fleet_table import Fleet
from seedcore.decision.policy import Policy, load_policy
from seedcore.decision.rulings import Considered, consider
from seedcore.decision.triage_policy import TriagePolicy
from seedcore.errors import InvalidInputError, UnavailableError
from seedcore.schemas.coordinator import StreamRows, TaskColumns, TaskFacts
from seedcore.settings import Settings
from seedcore.stores.postgres import DATABASE_ERRORS, Database
from seedcore.telemetry.logs import get_logger

MINUTE_S = 60.0


class Judgement:
    """Without a policy nothing is decided: tasks wait, and health says why."""

    def __init__(self, settings: Settings, database: Database, actions: Collection[str] = ()) -> None:
        self._actions = actions
        self._path: Path | None = settings.policy_path
        self._log = get_logger("seedcore.coordinator")
        self.streams = Streams(settings.drift_threshold)
        self.holds = Holds(database)
        self.tending = Tending(self.streams, database, settings.arl0, settings.recipe_least, self.holds)
        self._arl0 = settings.arl0
        self._policy: Policy | None = None
        self._broken: str | None = None
        self._reloads = 0
        self.unplanned = 0
        """Tasks that were to be planned and ran as they are, because no plan was to be had."""
        self._plans: deque[tuple[float, int]] = deque(maxlen=10_000)
        self._running: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Load the policy, and begin to tend the valves."""
        try:
            self._policy = load_policy(self._path, self._actions)
        except InvalidInputError as error:
            self._broken = error.detail
            self._log.error("there is no policy: nothing is decided", reason=error.detail)
        self._running = asyncio.create_task(self.tending.run(), name="valves")

    async def aclose(self) -> None:
        """Stop tending, and keep what the valves learned."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        try:
            await self.tending.save()
        except DATABASE_ERRORS as error:
            self._log.warning("valves are not kept", reason=f"{type(error).__name__}: {error}")

    def consider(self, tasks: TaskColumns, fleet: Fleet) -> Considered:
        """Evidence and rulings for a batch.

        Raises:
            UnavailableError: there is no policy.
        """
        policy, recipes = self._in_force(), self.tending.several
        return consider(tasks, fleet, self.streams, policy, self._plans_per_minute(), recipes, self.holds)

    async def ready(self) -> None:
        """Know what is held, before the first decision.

        Raises:
            UnavailableError: the database does not tell.
        """
        if not self.holds.loaded:
            await self.holds.load()

    @property
    def triage(self) -> TriagePolicy:
        """What a triage may do.

        Raises:
            UnavailableError: there is no policy.
        """
        return self._in_force().triage

    @property
    def version(self) -> str:
        """Of the policy in force."""
        return self._in_force().version

    def _in_force(self) -> Policy:
        if self._policy is None:
            raise UnavailableError(f"There is no policy: {self._broken}", retry_after_s=5)
        return self._policy

    def take(self, told: Sequence[StreamRows], unplanned: int = 0) -> None:
        """Let the valves see what a dispatcher tells, and count the tasks that no plan was to be had for."""
        self.streams.take(told)
        self.unplanned += unplanned

    def decided(self, counts: Mapping[tuple[str | None, str], int]) -> None:
        """Count what goes to be planned."""
        plans = sum(count for (route, _), count in counts.items() if route == "plan")
        if plans:
            self._plans.append((time.monotonic(), plans))

    def reload(self) -> dict[str, Any]:
        """Read the policy file again; a wrong one changes nothing.

        Raises:
            InvalidInputError: the file is wrong; the policy before stays in force.
        """
        before = None if self._policy is None else self._policy.version
        self._policy = load_policy(self._path, self._actions)
        self._broken = None
        self._reloads += 1
        self._log.info("policy loaded", version=self._policy.version, before=before, rules=len(self._policy.rules))
        return {**self.policy(), "changed": before != self._policy.version}

    def policy(self) -> dict[str, Any]:
        """The policy in force."""
        return {**self._in_force().report(), "reloads": self._reloads}

    def valves(self) -> dict[str, Any]:
        """Every stream, and what goes unseen."""
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
            "failing": self.tending.failing,
        }

    def health(self) -> dict[str, Any]:
        """Ready when there is a policy; valves that are not kept are said, and serve."""
        policy: dict[str, Any] = {"ready": True, "version": self._policy.version} if self._policy else {"ready": False}
        if self._broken is not None:
            policy["reason"] = self._broken
        states = [stream.state for stream in self.streams.all()]
        valves = {"streams": len(states), "open": states.count("open"), "failing": self.tending.failing}
        return {"policy": policy, "valves": valves, "plans": {"unplanned": self.unplanned}}

    def _plans_per_minute(self) -> int:
        since = time.monotonic() - MINUTE_S
        while self._plans and self._plans[0][0] < since:
            self._plans.popleft()
        return sum(count for _, count in self._plans)


def columns_of(tasks: Sequence[TaskFacts]) -> TaskColumns:
    """Records as columns."""
    columns: dict[str, Any] = {name: [getattr(task, name) for task in tasks] for name in TaskColumns.model_fields}
    return TaskColumns.model_construct(None, **columns)
