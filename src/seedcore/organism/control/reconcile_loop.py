"""The control loop (reconcile loop) of the Organism.

One replica leads: it makes the hosts match the desired state. The others follow: they read what the leader observed.

All that lasts is in PostgreSQL: the desired state, which hosts are planned, how the leader last saw them, and the epoch
of the routing table. A leader writes a host down before it creates it, and only while it leads. So two replicas that
both believe they lead do no harm, and a leader that is killed leaves nothing that the next one does not know.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from uuid import uuid4

from seedcore.organism.agents.agent_index import AgentIndex
from seedcore.organism.control.host import QUEUE_OF_POOL, Host, host_name
from seedcore.organism.control.organism_view import OrganismView
from seedcore.organism.control.reconciler import Reconciler
from seedcore.organism.desired.desired_state import Organ, present
from seedcore.organism.desired.repository import LeadLostError, OrganismRepository
from seedcore.telemetry.logs import get_logger
from seedcore.utils.waiting import wait_for_event

INTERVAL_S = 1.0
"""Seconds between the starts of two passes."""

LEASE_S = 5.0
"""A leader that does not renew its leadership for so long loses it."""

ADOPT_INTERVAL_S = 60.0
"""Seconds between two searches for hosts that no leader planned."""

OnSettled = Callable[[int, Mapping[str, Host]], Awaitable[None]]
"""Takes the number of the last change that has taken effect, and the hosts."""


class ReconcileLoop:
    """Runs the control loop, and keeps `view` up to date.

    Args:
        repository: the organism's rows.
        reconciler: makes the hosts match the desired state.
        view: what this replica knows; written here.
        on_settled: called by the leader after a pass that left nothing to do.

    Attributes:
        leads: this replica leads.
        observed: at least one pass has succeeded: `view` is known.
        observed_at: when the last pass succeeded, on `time.monotonic()`.
        applied_change: the last change of the desired state that a whole pass has worked on; -1 before any.
    """

    def __init__(
        self, repository: OrganismRepository, reconciler: Reconciler, view: OrganismView, on_settled: OnSettled
    ) -> None:
        self.view = view
        self._repository, self._reconciler, self._on_settled = repository, reconciler, on_settled
        self._owner = uuid4()
        self._agents = AgentIndex(repository.database)
        view.lifecycle = self._agents.lifecycle
        self._configured_workers = view.workers
        self._wake = asyncio.Event()
        reconciler.on_late_reply = self._wake.set
        self._pass_done = asyncio.Condition()
        self._resigned = False
        self._known_change = -1
        self._written: dict[str, Host] = {}
        self._adopted_at = float("-inf")
        self.leads = False
        self.observed = False
        self.observed_at = float("-inf")
        self.applied_change = -1
        self._log = get_logger("seedcore.organism.control.reconcile_loop", owner=str(self._owner))

    def running(self, host: str) -> int | None:
        """Tasks in hand on a host; None where only another replica knows."""
        return self._reconciler.running(host) if self.leads else None

    def old_snapshots(self) -> dict[str, float]:
        """Workers that decide with an old snapshot, and its age in seconds; empty where another replica knows."""
        return self._reconciler.old_snapshots() if self.leads else {}

    def wake(self) -> None:
        """Begin the next pass now."""
        self._wake.set()

    async def wait_until(self, condition: Callable[[], bool], change: int, timeout_s: float) -> bool:
        """Wait until a pass has worked on the change number `change` and `condition` holds; False when not in time."""

        def holds() -> bool:
            return self.applied_change >= change and condition()

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s), self._pass_done:
                await self._pass_done.wait_for(holds)
        return holds()

    async def run(self) -> None:
        """Run the control loop until `resign` or until cancelled.

        The loop is a task of its own: a cancellation that escapes from something inside a pass ends that task, and
        cannot be mistaken for a cancellation of this one.
        """
        while not self._resigned:
            loop = asyncio.create_task(self._reconcile_forever(), name="reconcile")
            try:
                await asyncio.wait({loop})
            except asyncio.CancelledError:
                loop.cancel()
                await asyncio.gather(loop, return_exceptions=True)
                raise
            if not self._resigned:
                reason = "cancelled" if loop.cancelled() else repr(loop.exception())
                self._log.warning("control loop cancelled, restarting", reason=reason)
                await asyncio.sleep(INTERVAL_S)

    async def _reconcile_forever(self) -> None:
        while not self._resigned:
            began = time.monotonic()
            await self.try_reconcile()
            await wait_for_event(self._wake, max(0.0, began + INTERVAL_S - time.monotonic()))
            self._wake.clear()

    async def try_reconcile(self) -> None:
        """Run one pass; a failure is logged, and the next pass tries again."""
        try:
            await self.reconcile()
        except LeadLostError:
            self._lose_leadership()
        except Exception as error:  # noqa: BLE001 - whatever fails, the loop goes on
            self._log.warning("reconcile failed", reason=f"{type(error).__name__}: {error}")

    async def reconcile(self) -> None:
        """Run one pass of the control loop, as leader or as follower."""
        leadership = await self._repository.lead(self._owner, LEASE_S)
        changed = {item.skill for item in leadership.quarantined} != {item.skill for item in self.view.quarantined}
        self.view.quarantined = leadership.quarantined
        if leadership.desired != self._known_change or not self.observed:
            changed |= await self._read_desired_state()
        if leadership.leads:
            await self._lead(changed=changed)
        else:
            await self._follow(leadership.epoch)
        self.observed, self.applied_change, self.observed_at = True, self._known_change, time.monotonic()
        if self.leads and self.view.settled:
            await self._on_settled(self.applied_change, self.view.hosts)
        async with self._pass_done:
            self._pass_done.notify_all()

    async def resign(self) -> None:
        """End the loop and stop leading, so that another replica takes over at once."""
        self._resigned = True
        self._reconciler.stop()
        if self.leads:
            self.leads = False
            await self._repository.resign(self._owner)

    async def _read_desired_state(self) -> bool:
        """Read the desired state; returns whether it may differ from what was known."""
        desired, view = await self._repository.desired_state(), self.view
        kept = {name: view.organs[name] for name in desired.unreadable if name in view.organs}
        view.organs, view.unreadable, view.stopped = present(desired.organs) | kept, desired.unreadable, desired.stopped
        view.workers = desired.workers or self._configured_workers
        first, self._known_change = self._known_change == -1, desired.change
        return not first

    async def _follow(self, epoch: int) -> None:
        if self.leads:
            self._lose_leadership()
        self.view.hosts = await self._repository.hosts()
        if self.view.workers.per_node is not None:
            await self._reconciler.list_nodes(self.view.pools())
            self.view.nodes = self._reconciler.node_count
        await self._agents.refresh(self.view.members())
        self.view.epoch = epoch

    def _lose_leadership(self) -> None:
        self._log.warning("leadership lost")
        self.leads = False
        self._reconciler.stop()

    async def _take_leadership(self) -> None:
        self._log.info("leadership acquired")
        self._reconciler.take_over(await self._repository.hosts())
        self.leads, self._adopted_at = True, float("-inf")
        self._written = {}

    async def _lead(self, *, changed: bool) -> None:
        reconciler, view = self._reconciler, self.view
        if not self.leads:
            await self._take_leadership()
            changed = True
        pools = view.pools()
        if time.monotonic() - self._adopted_at > ADOPT_INTERVAL_S:
            await reconciler.adopt_unplanned(pools.keys() | view.untouched() | QUEUE_OF_POOL.keys())
            self._adopted_at = time.monotonic()
        await reconciler.observe(pools)
        view.nodes = reconciler.node_count
        removed = await reconciler.remove_drained()
        pools = view.pools()
        create, _ = reconciler.plan(pools, untouched=view.untouched())
        await self._plan_new_hosts([pools[name] for name, count in create.items() for _ in range(count)])
        lifecycle_changed = await self._agents.refresh(view.members())
        await self._write(removed, changed=changed or lifecycle_changed)
        if create:
            # The new hosts are written down, so they may be created: no need to wait for the interval.
            self.wake()
        await reconciler.begin_drains()
        await self._agents.put_unwanted_to_sleep()

    async def _plan_new_hosts(self, wanted: list[Organ]) -> None:
        """Plan a host for each of `wanted`.

        Workers of the previous release have names of the same form, numbered by themselves: those are passed over.
        """
        taken: set[str] = set()
        if any(pool.id in QUEUE_OF_POOL for pool in wanted):
            taken = await self._reconciler.existing_names()
        while wanted:
            last, again = await self._repository.number_hosts(self._owner, len(wanted)), []
            for number, pool in enumerate(wanted, last - len(wanted) + 1):
                if host_name(pool.id, number) in taken:
                    again.append(pool)
                else:
                    self._reconciler.add_host(pool, number)
            wanted = again

    async def _write(self, removed: Iterable[Host], *, changed: bool) -> None:
        """Store what is new, with a new epoch when the routing table has changed."""
        now = {name: replace(host) for name, host in self._reconciler.hosts.items()}
        before = self._written
        new = [host for name, host in now.items() if _columns(before.get(name)) != _columns(host)]
        new_epoch = changed or _keeping_agents(before) != _keeping_agents(now)
        gone = [host.name for host in removed]
        if new or gone or new_epoch:
            self.view.epoch = await self._repository.save_hosts(self._owner, new, gone, new_epoch=new_epoch)
        self._written = self.view.hosts = now


def _columns(host: Host | None) -> tuple[object, ...] | None:
    if host is None:
        return None
    return (host.organ, host.fingerprint, host.alive, host.reason, host.node, host.drain_reason)


def _keeping_agents(hosts: Mapping[str, Host]) -> set[str]:
    return {name for name, host in hosts.items() if host.keeps_agents}
