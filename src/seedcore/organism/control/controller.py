"""Keeping the organism: one replica leads and makes what is wanted, the others read what it sees.

All that lasts is in PostgreSQL: what is wanted, which hosts are planned, how the leader last saw them, and the epoch of
the routing table. A leader writes a host down before it makes it, and only while it leads; so two that believe they
lead for a moment do no harm, and one that is killed leaves nothing that the next does not know.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any
from uuid import uuid4

from seedcore.fleet.organ_spec import organ_of_skills
from seedcore.organism.agents.agent_index import Sleepers
from seedcore.organism.control.host import Host
from seedcore.organism.control.reconciler import Reconciler
from seedcore.organism.desired.desired_state import Organ, present
from seedcore.organism.desired.repository import LeadLostError, OrganStore
from seedcore.organism.routing.routing_table import Members, Skills, build_table
from seedcore.telemetry.logs import get_logger

ROUND_S = 1.0
LEAD_S = 5.0
ADOPT_EVERY_S = 60.0


WhenSettled = Callable[[int, Mapping[str, Host]], Awaitable[None]]
"""Takes the last change that has taken effect, and the hosts."""


class Keeper:
    """Rounds for ever; knows the routing table of every epoch that it has seen last.

    Args:
        store: the organism's rows.
        reconciler: the hosts.
        skills: organ and time limit that each skill declares.
        when_settled: called by the leader after a round that left nothing to do.
    """

    def __init__(self, store: OrganStore, reconciler: Reconciler, skills: Skills, when_settled: WhenSettled) -> None:
        self._store, self._reconciler, self._declared = store, reconciler, skills
        self._when_settled = when_settled
        self._owner = uuid4()
        self._nudged = asyncio.Event()
        self._rounds = asyncio.Condition()
        self._seen = -1
        self._taken: dict[str, Host] = {}
        self._adopted_at = float("-inf")
        self._members: dict[str, tuple[int, Members]] = {}
        self._table: dict[str, Any] | None = None
        self._agents = Sleepers(store)
        self._ended = False
        self.leads = False
        self.looked = False
        self.looked_at = float("-inf")
        self.stopped = False
        self.epoch = 0
        self.effective = -1
        """The last change of what is wanted that a whole round has worked on."""
        self.organs: dict[str, Organ] = {}
        self.unreadable: frozenset[str] = frozenset()
        """Organs that another version wrote: what this one last knew of them holds, and their hosts are left alone."""
        self.hosts: dict[str, Host] = {}
        self._log = get_logger("seedcore.organism.control.controller", owner=str(self._owner))

    # -- what others ask -------------------------------------------------------------------------------------

    @property
    def complete(self) -> bool:
        """True when organs are wanted and every one has its minimum of living hosts that take tasks."""
        return not self.stopped and bool(self.organs) and not self.short()

    def short(self) -> dict[str, str]:
        """Organs that have fewer living hosts than their minimum, and what their hosts say."""
        found = {}
        for name, organ in self.organs.items():
            own = [host for host in self.hosts.values() if host.organ == name and host.drain_reason is None]
            if sum(host.alive for host in own) < organ.spec.least_hosts:
                why = "; ".join(f"{host.name}: {host.reason}" for host in own if not host.alive)
                found[name] = why or "no host is planned yet"
        for name in self.unreadable - self.organs.keys():
            found[name] = "was stored by another version, and this one cannot read it; its hosts are left alone"
        return found

    @property
    def settled(self) -> bool:
        """True when there is nothing to do: as many hosts as wanted, each current and alive; none when stopped."""
        if self.stopped:
            return not self.hosts
        counts = Counter(host.organ for host in self.hosts.values())
        return (
            bool(self.organs)
            and counts.keys() == self.organs.keys()
            and all(o.spec.least_hosts <= counts[name] <= o.spec.most_hosts for name, o in self.organs.items())
            and all(
                host.takes_tasks and host.fingerprint == self._reconciler.fingerprint(self.organs[host.organ])
                for host in self.hosts.values()
            )
        )

    def skill_organs(self) -> dict[str, str]:
        """The organ of each skill."""
        return organ_of_skills({name: organ.spec for name, organ in self.organs.items()}, self._declared.organ)

    def table(self) -> dict[str, Any]:
        """The routing table of this epoch, built once; see `table.build_table`."""
        if self._table is None or self._table["epoch"] != self.epoch:
            living: dict[str, list[str]] = {name: [] for name in self.organs}
            for host in self.hosts.values():
                if host.takes_tasks and host.organ in living:
                    living[host.organ].append(host.name)
            nodes = {host.name: host.node for host in self.hosts.values()}
            skills = Skills(self.skill_organs(), self._declared.timeout_s, self._declared.approval_s)
            members = {name: self._members_of(organ) for name, organ in self.organs.items()}
            self._table = build_table(self.epoch, members, living, self._agents.lifecycle, skills, nodes)
        return self._table

    def running(self, host: str) -> int | None:
        """Tasks that a host has in hand; None where only another replica knows."""
        return self._reconciler.running(host) if self.leads else None

    def nudge(self) -> None:
        """Something was changed: the next round begins now."""
        self._nudged.set()

    async def until(self, condition: Callable[[], bool], desired: int, timeout_s: float) -> bool:
        """Wait until rounds have worked on the change `desired` and `condition` holds; False when not in time."""

        def holds() -> bool:
            return self.effective >= desired and condition()

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s), self._rounds:
                await self._rounds.wait_for(holds)
        return holds()

    # -- rounds ----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Rounds until `resign` or until it is cancelled; whatever breaks one, the next tries again.

        The rounds are a task of their own: a cancellation that escapes from something inside a round ends that task,
        and cannot be taken for one that was meant for this.
        """
        while not self._ended:
            rounds = asyncio.create_task(self._go_round(), name="rounds")
            try:
                await asyncio.wait({rounds})
            except asyncio.CancelledError:
                rounds.cancel()
                await asyncio.gather(rounds, return_exceptions=True)
                raise
            if not self._ended:
                self._log.warning("the rounds were cut short, and begin anew", reason=_why(rounds))
                await asyncio.sleep(ROUND_S)

    async def _go_round(self) -> None:
        while not self._ended:
            began = time.monotonic()
            await self.try_round()
            # Not `wait_for`: before Python 3.12 it may swallow a cancellation.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, began + ROUND_S - time.monotonic())):
                    await self._nudged.wait()
            self._nudged.clear()

    async def try_round(self) -> None:
        """One round; what breaks it is logged."""
        try:
            await self.round()
        except LeadLostError:
            self._lose_lead()
        except Exception as error:  # noqa: BLE001 - whatever breaks a round, the next one tries again; it is logged
            self._log.warning("the round failed", reason=f"{type(error).__name__}: {error}")

    async def round(self) -> None:
        """One round: lead or follow."""
        standing = await self._store.lead(self._owner, LEAD_S)
        if standing.desired != self._seen or not self.looked:
            wanted = await self._store.organs()
            known = {name: self.organs[name] for name in wanted.unreadable if name in self.organs}
            self.organs, self.stopped, self.unreadable = (
                present(wanted.organs) | known,
                wanted.stopped,
                wanted.unreadable,
            )
            changed = self._seen != -1
            self._seen = wanted.desired
        else:
            changed = False
        if standing.leads:
            await self._lead(changed=changed)
        else:
            await self._follow(standing.epoch)
        self.looked, self.effective, self.looked_at = True, self._seen, time.monotonic()
        if self.leads and self.settled:
            await self._when_settled(self.effective, self.hosts)
        async with self._rounds:
            self._rounds.notify_all()

    async def resign(self) -> None:
        """Stop leading, so that another replica goes on at once."""
        self._ended = True
        self._reconciler.stop()
        if self.leads:
            self.leads = False
            await self._store.resign(self._owner)

    async def _follow(self, epoch: int) -> None:
        if self.leads:
            self._lose_lead()
        self.hosts = await self._store.hosts()
        await self._agents.refresh(self._member_ids())
        self.epoch = epoch

    def _lose_lead(self) -> None:
        self._log.warning("another one leads")
        self.leads = False
        self._reconciler.stop()

    async def _lead(self, *, changed: bool) -> None:
        reconciler = self._reconciler
        if not self.leads:
            self._log.info("leads")
            reconciler.take_up(await self._store.hosts())
            self.leads, self._adopted_at = True, float("-inf")
            self._taken = {}
            changed = True
        wanted, leave = ({}, frozenset[str]()) if self.stopped else (self.organs, self.unreadable)
        if time.monotonic() - self._adopted_at > ADOPT_EVERY_S:
            await reconciler.adopt(wanted.keys() | leave)
            self._adopted_at = time.monotonic()
        await reconciler.look(wanted)
        gone = await reconciler.remove_drained()
        make, _ = reconciler.plan(wanted, leave=leave)
        if count := sum(make.values()):
            number = await self._store.number_hosts(self._owner, count) - count
            for name, wants in make.items():
                for _ in range(wants):
                    number += 1
                    reconciler.add(self.organs[name], number)
        moved = await self._agents.refresh(self._member_ids())
        await self._write(gone, changed=changed or moved)
        if make:
            # They are written down, so they may be made: no need to wait for the next round.
            self.nudge()
        await self._agents.put_to_sleep()

    async def _write(self, gone: Iterable[Host], *, changed: bool) -> None:
        """Store what is new; a new epoch when the routing table is another one."""
        now = {name: replace(host) for name, host in self._reconciler.hosts.items()}
        before: Mapping[str, Host] = self._taken
        new = [host for name, host in now.items() if _stored(before.get(name)) != _stored(host)]
        new_epoch = changed or _taking(before) != _taking(now)
        names = [host.name for host in gone]
        if new or names or new_epoch:
            self.epoch = await self._store.save_hosts(self._owner, new, names, new_epoch=new_epoch)
        self._taken = self.hosts = now

    def _member_ids(self) -> dict[str, tuple[int, Members]]:
        """The members of every organ, worked out once a version."""
        for organ in self.organs.values():
            self._members_of(organ)
        self._members = {name: own for name, own in self._members.items() if name in self.organs}
        return self._members

    def _members_of(self, organ: Organ) -> Members:
        known = self._members.get(organ.id)
        if known is None or known[0] != organ.version:
            known = self._members[organ.id] = (organ.version, Members.of(organ.id, organ.spec, organ.roster))
        return known[1]


def _stored(host: Host | None) -> tuple[Any, ...] | None:
    if host is None:
        return None
    return (host.organ, host.fingerprint, host.alive, host.reason, host.node, host.drain_reason)


def _taking(hosts: Mapping[str, Host]) -> set[str]:
    return {name for name, host in hosts.items() if host.takes_tasks}


def _why(ended: asyncio.Task[None]) -> str:
    return "cancelled" if ended.cancelled() else repr(ended.exception())
