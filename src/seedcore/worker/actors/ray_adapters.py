"""The worker's ports over Ray: services by their clients, hosts as named actors."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol, cast

import ray
from ray.exceptions import RayError, RayTaskError

from seedcore.pricing.outcome_sums import Sums
from seedcore.schemas.coordinator import EnergyReport, QuestionReport, TaskColumnsJson
from seedcore.service_clients.cognitive_client import CognitiveClient
from seedcore.service_clients.coordinator_client import CoordinatorClient
from seedcore.settings import Settings
from seedcore.skills.host_protocol import HANDED_BACK, Call, Completion, completions_of, to_columns
from seedcore.tasks.model import Lease
from seedcore.utils.ray_address import parse_address
from seedcore.utils.ray_probe import ProbeStatus, probe
from seedcore.worker.decisions import stream_samples
from seedcore.worker.decisions.data_locality import data_of
from seedcore.worker.ports import Feedback, HostLostError, HostUnavailableError, PlanJson, PlanRequest
from seedcore.worker.ports import RouteDecision as Decision

PING_S = 5.0
GCS_ANSWERS_S = 5.0
"""A dead GCS refuses at once; a busy one gets this long before claims stop."""


class CoordinatorDecisions:
    """The decision service: the Coordinator, by its client."""

    def __init__(self, settings: Settings, asker: str) -> None:
        self._asker = asker
        self.coordinator = CoordinatorClient(settings, timeout_s=10)

    async def decide(self, tasks: Sequence[Lease], feedback: Feedback) -> list[Decision]:
        """One decision for each task, in order; one call for all."""
        report: QuestionReport = {
            "question": feedback.question,
            "unplanned": feedback.unplanned,
            "dropped": feedback.dropped,
            "streams": stream_samples.sample_streams(tasks, feedback.watched),
            "undecided": feedback.undecided,
            "energy": [_energy_report(t, sums) for t, sums in feedback.energy.items() if sums.outcomes],
            "spent": [{"agent": a, "type": t, "count": n, "money": m} for (a, t), (n, m) in feedback.spent.items()],
            "outstanding": [{"agent": a, "type": t, "count": n} for (a, t), n in feedback.outstanding.items()],
            "outcomes": [
                {"agent": a, "type": t, "count": n, "seconds": s, "successes": g}
                for (a, t), (n, s, g) in feedback.outcomes.items()
            ],
        }
        columns: TaskColumnsJson = {
            "type": [task.type for task in tasks],
            "domain": [task.domain for task in tasks],
            "priority": [task.priority for task in tasks],
            "attempt": [task.attempt for task in tasks],
            "size": [len(task.params) for task in tasks],
            "approved": [task.approved for task in tasks],
            "direct": [task.direct for task in tasks],
        }
        if any(data := [data_of(task) for task in tasks]):
            columns["data"] = data
        answer = await self.coordinator.decide_columns(self._asker, columns, report)
        verdicts, v = answer["verdicts"], answer.get("v")
        # A Coordinator of the previous release sends neither.
        fails = answer.get("expected_failure") or [None] * len(tasks)
        return [
            Decision(delta_energy=added, expected_failure=failure, v=v, **verdicts[n])
            for n, added, failure in zip(answer["verdict"], answer["delta_energy"], fails, strict=True)
        ]


class CognitivePlans:
    """The plan service: the Cognitive service, by its client."""

    def __init__(self, settings: Settings) -> None:
        self.cognitive = CognitiveClient(settings, timeout_s=settings.cognitive_timeout_s + 5)

    async def plan(self, request: PlanRequest) -> PlanJson:
        """A plan, as JSON."""
        plan = await self.cognitive.plan_task(
            request.goal, request.inputs, request.max_steps, without=request.without, done=request.done
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


def _energy_report(task_type: str, sums: Sums) -> EnergyReport:
    return {
        "type": task_type,
        "outcomes": sums.outcomes,
        "expected_s": sums.expected_s,
        "realised_s": sums.realised_s,
        "expected_failures": sums.expected_failures,
        "failures": sums.failures,
        "expected_delta": sums.expected_delta,
        "realised_delta": sums.realised_delta,
        "realised_squares": sums.realised_squares,
        "squared_error": sums.squared_error,
    }


class RayHosts:
    """The host pool: agent hosts, found by name in SeedCore's namespace."""

    def __init__(self, settings: Settings) -> None:
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
                yield self._mark_suspect(host, [await handle.execute.remote(calls[0])])
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
