"""Making the hosts that there ought to be, and knowing which of them live. `HostPool` is the Ray side of it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from seedcore.fleet.organ_spec import HostPlan, OrganSpec
from seedcore.organism.control.autoscaler import Scale, energy_of, next_scale
from seedcore.organism.control.host import Host, name_of, organ_of_name
from seedcore.organism.control.rebalancer import Spreading
from seedcore.organism.control.rollout import MOVES, OUTDATED, HostFact, next_steps
from seedcore.organism.desired.desired_state import Organ
from seedcore.telemetry.logs import get_logger

PING_S = 1.0
"""A round waits so long for answers; those that come later count in the next."""

SUSPECT_S = 5.0
"""A host that has not answered for so long gets no tasks."""

SILENT_S = 15.0
"""A host that has not answered for so long is ended and made anew: its process is stopped, or its event loop blocked.
Longer than SEEDCORE_HOST_BLOCKED_S, after which a host ends itself and can say why."""

RESTART_S = 30.0
"""The same for a host that answered and has failed since: Ray restarts it, or its process is stopped meanwhile."""

START_S = 120.0
"""The same for a host that was made and has not answered yet: it may wait for resources, or for a slow machine."""

SETTLE_S = 3.0
"""A draining host is stopped no sooner: by then everybody has a table without it."""


@dataclass(frozen=True, slots=True)
class Pulse:
    """A host's answer: tasks in hand, and the node that it lives on."""

    running: int
    node: str | None = None


class HostPool(Protocol):
    """Hosts as somebody keeps them."""

    async def ensure(self, plan: HostPlan) -> bool:
        """Make the host unless it is there; whether it was made."""

    async def ping(self, name: str) -> Pulse:
        """The host's answer, however long it takes; raises when it cannot come."""

    async def remove(self, name: str) -> None:
        """End a host for good; one that is gone already is fine."""

    async def retire(self, name: str) -> None:
        """The same, after the host has handed back what it still has in hand, and has saved what its agents learned."""

    async def names(self) -> Iterable[str]:
        """The hosts that there are, whoever made them."""

    async def nodes(self, organs: Mapping[str, OrganSpec]) -> dict[str, list[str]]:
        """For each organ the nodes that have what one of its hosts needs."""


@dataclass(slots=True)
class _Watch:
    """What only the leader's memory knows of a host. Times are of `time.monotonic`.

    Attributes:
        since: when it last answered; before its first answer when it was made, or first failed.
        may_be_silent_s: counted from then; after that it is made anew.
        answered: the process that answers now has answered before.
        running: tasks that it had in hand then.
        drains_from: when it began to drain.
        ping: the question that it has not answered yet.
    """

    since: float
    may_be_silent_s: float = START_S
    answered: bool = False
    running: int = 0
    drains_from: float | None = None
    ping: "asyncio.Task[Pulse] | None" = None


@dataclass(slots=True)
class Reconciler:
    """Compares desired and living hosts, and repairs the difference. One leader runs it at a time.

    Args:
        pool: where the hosts are.
        fingerprint: of the code, skills, resources and limits that a host of an organ is made with today.
        slots: tasks that one host of an organ runs at once.
        drain_s: longest time that a draining host may take to end its tasks.
    """

    pool: HostPool
    fingerprint: Callable[[Organ], str]
    slots: Callable[[Organ], int]
    drain_s: float
    hosts: dict[str, Host] = field(default_factory=dict)
    scales: dict[str, Scale] = field(default_factory=dict)
    _watched: dict[str, _Watch] = field(default_factory=dict)
    _last: float | None = None
    _nodes: dict[str, list[str]] = field(default_factory=dict)
    _spreading: Spreading = field(default_factory=Spreading)
    _moving: set[str] = field(default_factory=set)

    def take_up(self, hosts: Mapping[str, Host]) -> None:
        """Go on where another leader stopped: what it planned holds, who lives is asked anew."""
        self.stop()
        self.hosts = dict(hosts)
        self.scales, self._last = {}, None
        for host in self.hosts.values():
            host.alive, host.reason = False, "not asked yet"
            watch = self._watch(host)
            if host.drain_reason is not None:
                watch.drains_from = time.monotonic() - (host.draining_s or 0.0)

    async def adopt(self, organs: Collection[str]) -> list[Host]:
        """Hosts that nobody planned: those of wanted organs are kept until a successor lives, others are ended."""
        adopted = []
        for name in await self.pool.names():
            organ = organ_of_name(name)
            if name in self.hosts or organ is None:
                continue
            if organ in organs:
                host = Host(name, organ, fingerprint="unknown")
                self._add(host)
                adopted.append(host)
            else:
                get_logger("seedcore.organism").warning("nobody planned this host: it is ended", host=name)
                await self.pool.remove(name)
        return adopted

    async def look(self, organs: Mapping[str, Organ]) -> None:
        """Make the planned hosts that are missing and ask every host how it is."""
        hosts = list(self.hosts.values())
        there = await asyncio.gather(*[self._ensure(host, organs) for host in hosts])
        for host, is_there in zip(hosts, there, strict=True):
            watch = self._watch(host)
            if is_there and watch.ping is None:
                watch.ping = asyncio.create_task(self.pool.ping(host.name), name=f"ping {host.name}")
        pings = [watch.ping for watch in self._watched.values() if watch.ping is not None]
        if pings:
            await asyncio.wait(pings, timeout=PING_S)
        for host in hosts:
            await self._judge(host)
        self._nodes = await self._look_for_nodes(organs)

    def plan(self, organs: Mapping[str, Organ], leave: Collection[str] = ()) -> tuple[dict[str, int], list[Host]]:
        """Scale, and decide the next steps.

        Args:
            organs: the wanted organs; those whose hosts are to stop are not among them.
            leave: organs whose hosts stay as they are.

        Returns:
            How many new hosts each organ needs, and the hosts that begin to drain.
        """
        now = time.monotonic()
        elapsed_s, self._last = now - (self._last or now), now
        make: dict[str, int] = {}
        draining: list[Host] = []
        for name in dict.fromkeys([*organs, *(host.organ for host in self.hosts.values())]):
            if name in leave:
                continue
            own = [host for host in self.hosts.values() if host.organ == name]
            organ = organs.get(name)
            facts = [self._fact(host, organ) for host in own]
            want = 0 if organ is None else self._scale(organ, own, elapsed_s)
            if organ is not None and (moves := self._unevenly_spread(organ, own, want, now)) is not None:
                self._moving.add(moves)
                facts = [self._fact(host, organ) for host in own]
            steps = next_steps(want, 0 if organ is None else organ.spec.least_hosts, facts)
            if steps.make:
                make[name] = steps.make
            for host_name, why in steps.drain:
                host = self.hosts[host_name]
                host.drain_reason = MOVES if host_name in self._moving and why == OUTDATED else why
                self._watch(host).drains_from = now
                draining.append(host)
        self.scales = {name: scale for name, scale in self.scales.items() if name in organs}
        return make, draining

    def add(self, organ: Organ, number: int) -> Host:
        """Plan a new host; the next `look` makes it."""
        host = Host(name_of(organ.id, number), organ.id, self.fingerprint(organ), reason="is being made")
        self._add(host)
        return host

    async def remove_drained(self) -> list[Host]:
        """End the draining hosts that have nothing in hand any more, or have had their time; returns them."""
        done = [host for host in self.hosts.values() if host.drain_reason is not None and self._drained(host)]
        ended = await asyncio.gather(*[self._remove(host, self.pool.retire) for host in done])
        gone = [host for host, is_gone in zip(done, ended, strict=True) if is_gone]
        for host in gone:
            self._forget(host)
        return gone

    def running(self, name: str) -> int | None:
        """Tasks that a host said it has in hand; None when it has not answered since it was made."""
        watch = self._watched.get(name)
        return watch.running if watch is not None and watch.answered else None

    def stop(self) -> None:
        """Ask nobody any more."""
        for watch in self._watched.values():
            if watch.ping is not None:
                watch.ping.cancel()
        self._watched = {}

    def _scale(self, organ: Organ, own: Iterable[Host], elapsed_s: float) -> int:
        up = [host for host in own if host.drain_reason is None]
        running = sum(self._watch(host).running for host in own if host.alive)
        scale = self.scales.get(organ.id) or Scale(len(up))
        spec = organ.spec
        slots = self.slots(organ)
        after = next_scale(scale, running, slots, elapsed_s, least=spec.least_hosts, most=spec.most_hosts)
        self.scales[organ.id] = after
        if after.hosts != scale.hosts and up:
            get_logger("seedcore.organism").info(
                "organ scales",
                organ=organ.id,
                before=scale.hosts,
                after=after.hosts,
                running=running,
                slots=slots,
                delta_energy=energy_of(after.hosts, running, slots) - energy_of(max(1, scale.hosts), running, slots),
            )
        return after.hosts

    def _fact(self, host: Host, organ: Organ | None) -> HostFact:
        current = organ is not None and host.fingerprint == self.fingerprint(organ) and host.name not in self._moving
        return HostFact(host.name, host.number, current, host.alive, host.drain_reason is not None)

    def _unevenly_spread(self, organ: Organ, own: Iterable[Host], want: int, now: float) -> str | None:
        """The host that is to make way for one on an emptier node; only where nothing else is under way."""
        homes = {host.name: host.node for host in own if host.node is not None and self._settled(host, organ)}
        if len(homes) != want or len(homes) != len(list(own)) or want < 2:
            return None
        return self._spreading.next(organ.id, homes, self._nodes.get(organ.id, ()), now)

    def _settled(self, host: Host, organ: Organ) -> bool:
        return host.takes_tasks and self._fact(host, organ).current

    async def _look_for_nodes(self, organs: Mapping[str, Organ]) -> dict[str, list[str]]:
        try:
            return await self.pool.nodes({name: organ.spec for name, organ in organs.items()})
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing moves before they are known again
            get_logger("seedcore.organism").warning("nodes are not known", reason=f"{type(error).__name__}: {error}")
            return {}

    def _drained(self, host: Host) -> bool:
        watch = self._watch(host)
        if not host.alive or watch.drains_from is None:
            return True
        drained_s = time.monotonic() - watch.drains_from
        return drained_s > self.drain_s or (drained_s > SETTLE_S and watch.running == 0)

    async def _ensure(self, host: Host, organs: Mapping[str, Organ]) -> bool:
        """Make the host unless it is there; False when that cannot be. Those that drain are not made anew."""
        organ = organs.get(host.organ)
        if host.drain_reason is not None or organ is None:
            return True
        try:
            made = await self.pool.ensure(HostPlan(host.name, host.organ, organ.spec))
        except Exception as error:  # noqa: BLE001 - whatever stands in the way of one host, the next round tries again
            self._lost(host, f"{type(error).__name__}: {error}"[:300])
            return False
        if made:
            host.fingerprint = self.fingerprint(organ)
            self._start_anew(host, "is being made")
        return True

    async def _judge(self, host: Host) -> None:
        """Hold what the host said, or how long it has said nothing, against what is expected of it."""
        watch, now = self._watch(host), time.monotonic()
        if watch.ping is not None and watch.ping.done():
            ping, watch.ping = watch.ping, None
            error = asyncio.CancelledError() if ping.cancelled() else ping.exception()
            if error is not None:
                self._failed(host, f"{type(error).__name__}: {error}"[:300])
            else:
                self._answered(host, ping.result())
        silent_s = now - watch.since
        if silent_s > watch.may_be_silent_s and host.drain_reason is None:
            get_logger("seedcore.organism").warning("host is silent: it is ended", host=host.name, seconds=silent_s)
            if await self._remove(host, self.pool.remove):
                self._start_anew(host, f"said nothing for {silent_s:.0f} s, is being made anew")
        elif host.alive and silent_s > SUSPECT_S:
            self._lost(host, f"has said nothing for {silent_s:.0f} s")

    def _answered(self, host: Host, pulse: Pulse) -> None:
        watch = self._watch(host)
        watch.since, watch.may_be_silent_s = time.monotonic(), SILENT_S
        watch.answered, watch.running = True, pulse.running
        host.alive, host.reason, host.node = True, None, pulse.node

    def _failed(self, host: Host, reason: str) -> None:
        """Another process answers next, or none. Failing again gives it no more time."""
        watch = self._watch(host)
        if watch.answered:
            watch.since, watch.may_be_silent_s = time.monotonic(), RESTART_S
            watch.answered, watch.running = False, 0
        self._lost(host, reason)

    def _start_anew(self, host: Host, reason: str) -> None:
        """It was made, or will be in the next round: what was known of the one before counts no more."""
        watch = self._watch(host)
        if watch.ping is not None:
            watch.ping.cancel()
        self._watched[host.name] = _Watch(time.monotonic(), drains_from=watch.drains_from)
        self._lost(host, reason)

    def _lost(self, host: Host, reason: str) -> None:
        if host.alive:
            get_logger("seedcore.organism").warning("host lost", host=host.name, reason=reason)
        host.alive, host.reason = False, reason

    async def _remove(self, host: Host, how: Callable[[str], Awaitable[None]]) -> bool:
        try:
            await how(host.name)
        except Exception as error:  # noqa: BLE001 - as above
            get_logger("seedcore.organism").warning("host not removed", host=host.name, reason=str(error))
            return False
        return True

    def _watch(self, host: Host) -> _Watch:
        return self._watched.setdefault(host.name, _Watch(time.monotonic()))

    def _add(self, host: Host) -> None:
        self.hosts[host.name] = host
        self._watch(host)

    def _forget(self, host: Host) -> None:
        del self.hosts[host.name]
        self._moving.discard(host.name)
        watch = self._watched.pop(host.name, None)
        if watch is not None and watch.ping is not None:
            watch.ping.cancel()
