"""The worker's ports over Ray: services by their clients, hosts as named actors."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from typing import Any, Protocol, cast

import orjson
import ray
from ray.exceptions import RayError, RayTaskError

from seedcore.llm.upstream import missing_upstream
from seedcore.schemas.cognitive.planning import EscalationIn
from seedcore.schemas.snapshot import SnapshotUpdate, StoredSnapshotJson, WorkerReportJson
from seedcore.service_clients.cognitive_client import CognitiveClient
from seedcore.service_clients.coordinator_client import CoordinatorClient
from seedcore.settings import Settings
from seedcore.skills.host_protocol import HANDED_BACK, Call, Completion, completions_of, to_columns
from seedcore.stores import snapshots
from seedcore.stores.postgres import Database
from seedcore.utils.ray_address import parse_address
from seedcore.utils.ray_probe import ProbeStatus, probe
from seedcore.worker.ports import HostLostError, HostUnavailableError, PlanJson, PlanRequest

PING_S = 5.0
HOP_MEMORY, MAX_HOP_S = 50, 0.1
GCS_ANSWERS_S = 5.0
"""A dead GCS refuses at once; a busy one gets this long before claims stop."""


class CoordinatorPlane:
    """The control plane: the Coordinator by its client, and the snapshot that it keeps in PostgreSQL."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.coordinator = CoordinatorClient(settings, timeout_s=10)
        self._database = database

    async def exchange(self, report: WorkerReportJson) -> SnapshotUpdate:
        """See `coordinator_link.ControlPlane`."""
        return await self.coordinator.exchange(report)

    async def stored(self) -> tuple[StoredSnapshotJson, float] | None:
        """See `coordinator_link.ControlPlane`."""
        async with self._database.connection() as connection:
            found = await snapshots.load(connection)
        return None if found is None else (cast(StoredSnapshotJson, orjson.loads(found.body)), found.age_s)


class CognitivePlans:
    """The plan service: the Cognitive service, by its client."""

    def __init__(self, settings: Settings) -> None:
        timeout_s = settings.cognitive_timeout_s + 5
        self.cognitive = CognitiveClient(settings, timeout_s=timeout_s)
        # A language model may read a goal first; what names a skill is never left to one.
        reads_s = settings.model_answer_s if missing_upstream(settings) is None else 0.0
        self._goals = CognitiveClient(settings, timeout_s=timeout_s + reads_s)

    async def plan(self, request: PlanRequest) -> PlanJson:
        """A plan, as JSON."""
        task = request.escalation
        escalation = None if task is None else EscalationIn(**asdict(task))
        client = self._goals if task is None else self.cognitive
        plan = await client.plan_task(
            request.goal,
            request.inputs,
            request.max_steps,
            without=request.without,
            done=request.done,
            escalation=escalation,
            tenant=request.tenant,
            plan_id=request.task_id,
            plan_tokens=request.tokens,
            plan_money=request.money,
        )
        return cast(PlanJson, plan.model_dump(mode="json", by_alias=True))


class ActorMethod(Protocol):
    """A method of an actor, as Ray's handles have it."""

    def remote(self, *arguments: object) -> Any:
        """Call it; what comes back is awaited."""

    def options(self, *, num_returns: str) -> "ActorMethod":
        """The method with other options."""


class AgentHostHandle(Protocol):
    """A handle of an `AgentHost` actor."""

    run: ActorMethod
    execute: ActorMethod
    cancel: ActorMethod
    status: ActorMethod


FIRST_HOP_S = 0.004
"""What a call's way to another process is taken to cost until one was measured."""


class RayHosts:
    """The host pool: workers and agent hosts, found by name in SeedCore's namespace.

    Attributes:
        hop_s: seconds that a single call takes beyond the skill's own, a moving mean; FIRST_HOP_S before the first one.
        hops: how many calls it was measured on.
    """

    def __init__(self, settings: Settings) -> None:
        self.hop_s, self.hops = FIRST_HOP_S, 0
        self._namespace = settings.namespace
        self._handles: dict[str, AgentHostHandle] = {}
        self._suspects: set[str] = set()

    async def run(self, host: str, calls: Sequence[Call]) -> AsyncIterator[list[Completion]]:
        """Run `calls`, yielding completions as they happen; see `ports.HostPool`."""
        try:
            handle = self._handle(host)
            if host in self._suspects:
                await self._check(host, handle)
            if len(calls) == 1:
                # Nothing to stream: one answer costs half as much as a stream of one.
                began = time.perf_counter()
                completion = await handle.execute.remote(calls[0])
                self._measure(time.perf_counter() - began - completion.seconds)
                yield self._mark_suspect(host, [completion])
                return
            generator = handle.run.options(num_returns="streaming").remote(to_columns(calls))
            async for reference in generator:
                yield self._mark_suspect(host, completions_of(await reference))
        except RayTaskError as error:
            raise HostLostError(f"{type(error.cause).__name__}: {error.cause}") from error
        except RayError as error:
            # Ray does not know whether the calls had begun, so they had: else a task that kills its host would never
            # use up its attempts. That host gets no more calls before it has answered.
            self._handles.pop(host, None)
            self._suspects.add(host)
            raise HostLostError(f"{type(error).__name__}: {str(error)[:200]}") from error

    async def cancel(self, host: str, task_ids: Sequence[str]) -> None:
        """Cancel running calls; a host that has ended has none."""
        try:
            await self._handle(host).cancel.remote(list(task_ids))
        except (RayError, HostUnavailableError):
            self._handles.pop(host, None)

    def _measure(self, seconds: float) -> None:
        """Take a call's way into the mean. One that waited for a place at its host says nothing about the way."""
        self.hops += 1
        weight = 1.0 / min(self.hops, HOP_MEMORY)
        self.hop_s += weight * (min(max(seconds, 0.0), MAX_HOP_S) - self.hop_s)

    def _mark_suspect(self, host: str, chunk: list[Completion]) -> list[Completion]:
        """A host that returns calls is about to end: it gets no more before it has answered."""
        if any(completion.error_code == HANDED_BACK for completion in chunk):
            self._suspects.add(host)
        return chunk

    async def _check(self, host: str, handle: AgentHostHandle) -> None:
        """Make sure that a host that was lost answers again, while nothing has begun."""
        try:
            async with asyncio.timeout(PING_S):
                status = await handle.status.remote()
        except (RayError, TimeoutError) as error:
            self._handles.pop(host, None)
            raise HostUnavailableError(f"{type(error).__name__}: {str(error)[:200]}") from error
        if status.get("closed"):
            raise HostUnavailableError(str(status["closed"]))
        self._suspects.discard(host)

    def _handle(self, host: str) -> AgentHostHandle:
        if host not in self._handles:
            try:
                self._handles[host] = cast(AgentHostHandle, ray.get_actor(host, namespace=self._namespace))
            except ValueError as error:
                raise HostUnavailableError(f"there is no host {host}") from error
        return self._handles[host]


class RayCluster:
    """The Ray cluster of this process. A process outlives its head by a minute: until then only this notices.

    Args:
        gcs: address of the GCS.
        node: id of the node that this process runs on, which a living GCS knows.
    """

    def __init__(self, gcs: str, node: str | None) -> None:
        self._endpoint, self._node = parse_address(gcs), node

    async def silence(self) -> str | None:
        """Why the GCS does not answer, or belongs to another cluster; see `ports.Cluster`."""
        result = await asyncio.to_thread(probe, self._endpoint, GCS_ANSWERS_S, self._node)
        return None if result.status is ProbeStatus.READY else f"{self._endpoint} is {result.status}: {result.detail}"
