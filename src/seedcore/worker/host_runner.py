"""Runs calls on hosts and takes their completions, one stream for each host and batch."""

from collections.abc import Iterable, Sequence

from structlog.typing import FilteringBoundLogger

from seedcore.skills.host_protocol import HANDED_BACK, Call, Completion
from seedcore.stores.postgres import DATABASE_ERRORS
from seedcore.tasks.failure_codes import FailureCode
from seedcore.worker.attempt_endings import AttemptEndings
from seedcore.worker.in_flight import HeldLease, InFlight, held_for_long
from seedcore.worker.job_set import JobSet
from seedcore.worker.outcome_records import batch_fields, reason_of
from seedcore.worker.ports import HostLostError, HostUnavailableError, LocalHost, WorkerPorts


class HostRunner:
    """Sends calls to hosts and ends their leases as the hosts answer.

    Attributes:
        counts: calls that ran in this process, and those that went to another one.
    """

    def __init__(
        self,
        ports: WorkerPorts,
        in_flight: InFlight,
        endings: AttemptEndings,
        jobs: JobSet,
        log: FilteringBoundLogger,
    ) -> None:
        self._hosts, self._local, self._leases, self._in_flight = ports.hosts, ports.local, ports.leases, in_flight
        self._endings, self._jobs, self._log, self._begun = endings, jobs, log, ports.begun
        self.counts = {"ran_here": 0, "ran_elsewhere": 0}

    def start(self, host: str, calls: Sequence[tuple[Call, HeldLease]]) -> None:
        """Run `calls` on `host` while the caller goes on."""
        local = self._local
        if local is None or host != local.name:
            self.counts["ran_elsewhere"] += len(calls)
            self._jobs.start(self._run(host, calls))
            return
        self.counts["ran_here"] += len(calls)
        if late := held_for_long(held for _, held in calls):
            self._jobs.start(self._run_announced(local, calls, late))
        else:
            self._run_here(local, calls)

    def _run_here(self, local: LocalHost, calls: Sequence[tuple[Call, HeldLease]]) -> None:
        left = {call.task_id: held for call, held in calls}
        local.submit([call for call, _ in calls], lambda chunk: self._take(chunk, left))

    async def _run_announced(
        self, local: LocalHost, calls: Sequence[tuple[Call, HeldLease]], late: Sequence[HeldLease]
    ) -> None:
        try:
            await self._announce(late)
        except HostUnavailableError as error:
            self._log.warning(
                "starts not written, releasing leases", reason=str(error), **_named(held for _, held in calls)
            )
            await self._endings.release_later([held.lease for held in self._in_hand(held for _, held in calls)])
        else:
            # What was lost meanwhile must not begin.
            self._run_here(local, [(call, held) for call, held in calls if self._in_flight.holds(held)])

    async def _run(self, host: str, calls: Sequence[tuple[Call, HeldLease]]) -> None:
        left = {call.task_id: held for call, held in calls}
        begun = self._begun
        try:
            await self._announce(held_for_long(left.values()))
            if begun is not None:
                begun.send(call for call, _ in calls)
            async for chunk in self._hosts.run(host, [call for call, _ in calls]):
                self._take(chunk, left)
            if left:
                raise HostLostError("it answered for some of the calls only")
        except HostUnavailableError as error:
            if begun is not None:
                begun.unsend(held.lease.token for held in left.values())
            self._log.warning(
                "host unavailable, releasing leases", host=host, reason=str(error), **_named(left.values())
            )
            await self._endings.release_later([held.lease for held in self._in_hand(left.values())])
        except Exception as error:  # noqa: BLE001 - HostLostError, or what could not be foreseen: the calls had begun
            self._log.warning(
                "host lost, retrying its tasks", host=host, reason=reason_of(error), **_named(left.values())
            )
            lost = self._in_hand(left.values())
            await self._endings.retry_lost(lost, FailureCode.HOST_LOST, f"the host {host} ended while the task ran")

    async def _announce(self, tasks: Sequence[HeldLease]) -> None:
        """Write that these begin before they do: if this process is lost, it is known that they had begun."""
        if not tasks:
            return
        for held in tasks:
            held.announced = True
        try:
            await self._leases.started([held.key for held in tasks])
        except DATABASE_ERRORS as error:
            raise HostUnavailableError(f"its start cannot be written: {reason_of(error)}") from error

    def _in_hand(self, tasks: Iterable[HeldLease]) -> list[HeldLease]:
        return [held for held in tasks if self._in_flight.holds(held)]

    def _take(self, chunk: Sequence[Completion], left: dict[str, HeldLease]) -> None:
        released, reason = [], None
        for completion in chunk:
            held = left.pop(completion.task_id, None)
            if held is None or not self._in_flight.holds(held):
                continue
            if completion.error_code == HANDED_BACK:
                released.append(held.lease)
                reason = completion.error_message
                if self._begun is not None:
                    self._begun.unsend([held.lease.token])
            else:
                self._endings.record(held, completion)
        if released:
            self._log.warning("host returned calls, releasing leases", reason=reason, **batch_fields(released))
            self._jobs.start(self._endings.release_later(released))

    def abandon(self) -> None:
        """The leases are lost, or about to be released: stop what runs in this process."""
        if self._local is not None:
            held = self._in_flight.held.values()
            name = self._local.name
            self._local.cancel_soon(
                [str(h.lease.id) for h in held if h.decision is not None and h.decision.host == name]
            )

    def give_up(self, silent: Sequence[tuple[HeldLease, float]]) -> None:
        """Retry tasks whose host did not answer within the seconds that it had."""
        for held, limit_s in silent:
            message = f"the host said nothing for {limit_s:g} s"
            self._jobs.start(self._endings.retry_lost([held], FailureCode.HOST_SILENT, message))

    def cancel(self, tasks: Sequence[HeldLease]) -> None:
        """Stop tasks whose leases are lost where they run, while the caller goes on."""
        for held in tasks:
            self._in_flight.drop(held.lease.id)
        self._jobs.start(self._cancel(tasks))

    async def _cancel(self, tasks: Sequence[HeldLease]) -> None:
        by_host: dict[str, list[str]] = {}
        for held in tasks:
            if held.decision is not None and held.decision.host is not None:
                by_host.setdefault(held.decision.host, []).append(str(held.lease.id))
        for host, task_ids in by_host.items():
            if self._local is not None and host == self._local.name:
                self._local.cancel_soon(task_ids)
            else:
                await self._hosts.cancel(host, task_ids)


def _named(tasks: Iterable[HeldLease]) -> dict[str, object]:
    return batch_fields([held.lease for held in tasks])
