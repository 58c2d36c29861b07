"""Hosts and workers as detached Ray actors, found by name in SeedCore's namespace."""

import asyncio
import threading
from collections.abc import Awaitable, Iterable, Mapping
from typing import NotRequired, ParamSpec, Protocol, TypedDict, TypeVar, cast

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayError
from ray.util import list_named_actors
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from seedcore.errors import DeadlineError, UnavailableError
from seedcore.fleet.organ_spec import HostPlan, OrganSpec
from seedcore.organism.control.host import QUEUE_OF_POOL, organ_of_host
from seedcore.organism.control.host_provisioner import PingReply
from seedcore.organism.routing.placement import choose_node
from seedcore.settings import Settings
from seedcore.skills.host_protocol import Call, Completion
from seedcore.telemetry.logs import get_logger

RETIRE_S = 10.0
"""Longest time that a retiring host or worker may take to hand back its tasks."""

BEGIN_DRAIN_S = 1.0
"""Longest wait until a worker says that it claims no more."""

ANSWER_MARGIN_S = 5.0
"""A call may take this much longer than the time limit that the host itself enforces."""


Arguments = ParamSpec("Arguments")
Result = TypeVar("Result", covariant=True)


class RemoteMethod(Protocol[Arguments, Result]):
    """A method of an actor, called over its handle."""

    def remote(self, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Awaitable[Result]:
        """Call it."""


class ReportedStatus(TypedDict):
    """What the `status` of a host or worker says, as far as it is used here.

    Workers of the previous release have no `node`; their `running` is true, and the tasks in hand are `holding`.
    """

    node: NotRequired[str]
    running: int
    holding: NotRequired[int]
    snapshot_age_s: NotRequired[float | None]


class HostHandle(Protocol):
    """The handle of a host's or worker's actor. Hosts have `drain`, workers `stop` and `begin_drain`."""

    status: RemoteMethod[[], ReportedStatus]
    drain: RemoteMethod[[float], object]
    stop: RemoteMethod[[float], object]
    execute: RemoteMethod[[Call], Completion]


class RayNode(TypedDict):
    """What `ray.nodes()` says of a node, as far as it is used here."""

    NodeID: str
    Alive: bool
    Resources: dict[str, float]


class RayHostProvisioner:
    """Creates hosts and workers, finds existing ones by name, and keeps their handles.

    Args:
        settings: name the namespace, and how long a worker may drain.
        host_actor: the class of a host's actor; it is created with name, organ, limits and roles, and has the methods
            `status`, `drain` and `execute`.
        worker_actor: that of a worker's; it is created with name and queue, and has the methods `status`,
            `begin_drain`, `stop` and `execute`. None: there are to be no workers.
    """

    def __init__(self, settings: Settings, host_actor: type, worker_actor: type | None = None) -> None:
        self._namespace, self._drain_s = settings.namespace, settings.drain_s
        self._host_actor, self._worker_actor = host_actor, worker_actor
        self._handles: dict[str, HostHandle] = {}
        self._stopping: dict[str, asyncio.Task[None]] = {}
        self._nodes: dict[str, tuple[str, str]] = {}
        self._creating = threading.Lock()

    async def ensure(self, plan: HostPlan) -> bool:
        """Create the host, or find the existing one of that name; returns whether it was created."""
        if plan.name in self._handles:
            return False
        self._handles[plan.name], created = await asyncio.to_thread(self._find_or_create, plan)
        return created

    async def ping(self, name: str) -> PingReply:
        """The host's answer, however long it takes.

        Raises:
            RayError: the host has died, or is restarting.
        """
        try:
            status = await self.handle(name).status.remote()
        except ray.exceptions.ActorDiedError:
            # It ended for good (a restart would have been ActorUnavailable): the next `ensure` creates a new one.
            self._forget(name)
            raise
        node, running = status.get("node"), status["running"]
        if node is not None:
            self._nodes[name] = organ_of_host(name) or "", node
        in_hand = status.get("holding", 0) if isinstance(running, bool) else running
        return PingReply(in_hand, node, status.get("snapshot_age_s"))

    async def remove(self, name: str) -> None:
        """End a host for good, also one that an earlier process created; one that does not exist is fine."""
        await asyncio.to_thread(self._kill, name)
        self._forget(name)

    async def begin_drain(self, name: str) -> None:
        """Tell a worker to claim no more; a host needs nothing.

        A worker of the previous release cannot do that: it is stopped, which it does when it has finished.

        Raises:
            RayError, TimeoutError: it does not answer.
        """
        if organ_of_host(name) not in QUEUE_OF_POOL or name in self._stopping:
            return
        handle = self.handle(name)
        begin_drain = cast("RemoteMethod[[], object] | None", getattr(handle, "begin_drain", None))
        if begin_drain is None:
            self._stopping[name] = asyncio.create_task(self._stop_worker(name, handle), name=f"stop {name}")
            return
        async with asyncio.timeout(BEGIN_DRAIN_S):
            await begin_drain.remote()

    async def retire(self, name: str) -> None:
        """Remove a host after it has handed back the tasks in hand and saved what its agents learned."""
        try:
            if organ_of_host(name) in QUEUE_OF_POOL:
                async with asyncio.timeout(RETIRE_S + ANSWER_MARGIN_S):
                    await self.handle(name).stop.remote(RETIRE_S)
            else:
                async with asyncio.timeout(RETIRE_S):
                    await self.handle(name).drain.remote(0.0)
        except (ray.exceptions.RayError, TimeoutError, ValueError) as error:
            get_logger("seedcore.organism").info(
                "host removed without draining", host=name, reason=type(error).__name__
            )
        await self.remove(name)

    async def names(self) -> Iterable[str]:
        """Every host and worker in the namespace, whoever created it."""
        actors = await asyncio.to_thread(list_named_actors, all_namespaces=True)
        return [a["name"] for a in actors if a["namespace"] == self._namespace and organ_of_host(a["name"])]

    async def nodes(self, organs: Mapping[str, OrganSpec]) -> dict[str, list[str]]:
        """For each organ the living nodes whose total resources suffice for one of its hosts."""
        nodes = await asyncio.to_thread(ray.nodes)
        return {organ: [node["NodeID"] for node in nodes if _fits(node, spec)] for organ, spec in organs.items()}

    async def execute(self, host: str, call: Call, timeout_s: float) -> Completion:
        """Run one call on a host.

        Raises:
            DeadlineError: no answer within `timeout_s` and ANSWER_MARGIN_S.
            UnavailableError: the host does not answer.
        """
        try:
            handle = self.handle(host)
        except ValueError as error:
            raise UnavailableError(f"Host {host} does not exist.", retry_after_s=1) from error
        return await execute_on(handle, host, call, timeout_s)

    def handle(self, name: str) -> HostHandle:
        """The actor handle of a host.

        Raises:
            ValueError: there is none of that name.
        """
        # A replica that does not lead has created none: it finds them.
        if name not in self._handles:
            self._handles[name] = cast(HostHandle, ray.get_actor(name, namespace=self._namespace))
        return self._handles[name]

    def _forget(self, name: str) -> None:
        self._handles.pop(name, None)
        self._nodes.pop(name, None)
        if (stopping := self._stopping.pop(name, None)) is not None:
            stopping.cancel()

    async def _stop_worker(self, name: str, handle: HostHandle) -> None:
        try:
            await handle.stop.remote(self._drain_s)
        except RayError as error:
            get_logger("seedcore.organism").info("worker ended while it stopped", host=name, reason=str(error)[:200])

    def _kill(self, name: str) -> None:
        try:
            handle = self.handle(name)
        except ValueError:  # how Ray says that there is no such actor
            return
        ray.kill(cast("ActorHandle[object]", handle), no_restart=True)

    def _find_or_create(self, plan: HostPlan) -> tuple[HostHandle, bool]:
        try:
            return cast(HostHandle, ray.get_actor(plan.name, namespace=self._namespace)), False
        except ValueError:
            # One at a time: each sees on which nodes those before it were placed.
            with self._creating:
                return self._create(plan), True

    def _create(self, plan: HostPlan) -> HostHandle:
        spec = plan.spec
        strategy: str | NodeAffinitySchedulingStrategy = "SPREAD"
        node = choose_node([n["NodeID"] for n in ray.nodes() if _fits(n, spec)], plan.organ, self._nodes)
        if node is not None:
            self._nodes[plan.name] = plan.organ, node
            strategy = NodeAffinitySchedulingStrategy(node, soft=True, _spill_on_unavailable=True)
        actor_class, arguments = self._actor_of(plan)
        actor: object = (
            ray.remote(actor_class)
            .options(
                name=plan.name,
                namespace=self._namespace,
                lifetime="detached",
                get_if_exists=True,
                max_restarts=-1,
                # Slots for whole batches; the executor limits what runs at once inside.
                max_concurrency=1000,
                # Hosts of an organ on different nodes; Ray's own SPREAD puts several on one while others have none.
                scheduling_strategy=strategy,
                # A byte: Ray puts actors that reserve nothing on any node, whatever the strategy says.
                memory=1,
                num_cpus=spec.num_cpus,
                num_gpus=spec.num_gpus,
                resources=spec.resources or None,
            )
            .remote(*arguments)
        )
        return cast(HostHandle, actor)

    def _actor_of(self, plan: HostPlan) -> tuple[type, tuple[object, ...]]:
        """The class of a planned actor, and what it is created with."""
        queue = QUEUE_OF_POOL.get(plan.organ)
        if queue is None:
            limits = plan.spec.limits.model_dump(exclude_none=True)
            return self._host_actor, (plan.name, plan.organ, limits, dict(plan.spec.roles))
        if self._worker_actor is None:
            raise TypeError(f"{plan.name} is a worker, and there is no class for workers")
        return self._worker_actor, (plan.name, queue)


async def execute_on(handle: HostHandle, host: str, call: Call, timeout_s: float) -> Completion:
    """Run one call on the actor `handle` of a host; see `RayHostProvisioner.execute`."""
    try:
        completion = await asyncio.wait_for(handle.execute.remote(call), timeout_s + ANSWER_MARGIN_S)
    except TimeoutError:
        message = f"Host {host} gave no answer within {timeout_s + ANSWER_MARGIN_S:g} s."
        raise DeadlineError(message) from None
    except (RayError, ValueError) as error:
        raise UnavailableError(f"Host {host} does not answer: {type(error).__name__}.", retry_after_s=1) from error
    return completion


def _fits(node: RayNode, spec: OrganSpec) -> bool:
    """Whether a node lives and has, in total, what a host reserves."""
    total = node["Resources"]
    required = {"CPU": spec.num_cpus, "GPU": spec.num_gpus, **spec.resources}
    return node["Alive"] and all(total.get(name, 0.0) >= amount for name, amount in required.items())
