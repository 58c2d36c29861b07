"""Runs a claimed batch: fills in the results of earlier steps, decides, and hands each task to its route."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from structlog.typing import FilteringBoundLogger

from seedcore.errors import UnavailableError
from seedcore.settings import Settings
from seedcore.skills.host_protocol import Call
from seedcore.stores.postgres import DATABASE_ERRORS
from seedcore.stores.sqlstates import is_row_error
from seedcore.tasks.failure_codes import FailureCode
from seedcore.tasks.model import Lease
from seedcore.utils.batch_split import split_refused
from seedcore.worker.attempt_endings import AttemptEndings
from seedcore.worker.decisions.route_decision import RouteDecision
from seedcore.worker.host_runner import HostRunner
from seedcore.worker.in_flight import HeldLease, InFlight
from seedcore.worker.job_set import JobSet
from seedcore.worker.measuring.task_traces import TaskTraces
from seedcore.worker.outcome_records import batch_fields, call_of, lease_fields, reason_of, with_reason
from seedcore.worker.planning.plan_route import PlanRunner
from seedcore.worker.ports import WorkerPorts
from seedcore.worker.skill_catalog import SkillCatalog


class BatchRunner:
    """The batches in flight of one dispatcher.

    Attributes:
        hosts, plans: the routes that take time.
        counts: what could not be decided about, and what was out of bounds.
    """

    def __init__(
        self,
        settings: Settings,
        ports: WorkerPorts,
        in_flight: InFlight,
        jobs: JobSet,
        log: FilteringBoundLogger,
        name: str = "",
    ) -> None:
        self._leases, self._in_flight, self._jobs, self._log = ports.leases, in_flight, jobs, log
        self._decider, self._reports = ports.decider, ports.reports
        skills = SkillCatalog(settings)
        self._traces = TaskTraces(name)
        self._endings = AttemptEndings(settings, ports.leases, in_flight, skills, log, self._traces)
        self.counts = self._endings.counts
        self.counts |= {"refused_tasks": 0}
        self.hosts = HostRunner(ports, in_flight, self._endings, jobs, log)
        self.plans = PlanRunner(settings, ports, in_flight, self._endings, skills, jobs, log, run_directly=self.start)

    def start(self, batch: Sequence[Lease]) -> None:
        """Decide about a batch and begin what can begin, while the caller goes on; the rest is released in a moment.

        Only what takes results of earlier steps waits for the database first.
        """
        bound = [lease for lease in batch if lease.bindings]
        if bound:
            self._jobs.start(self._run_bound(bound))
            batch = [lease for lease in batch if not lease.bindings]
        if batch:
            self._run(batch, {})

    async def abandon(self) -> None:
        """Cancel everything: the session was lost, or its time is over."""
        self.hosts.abandon()
        await self._jobs.cancel()

    async def _run_bound(self, batch: Sequence[Lease]) -> None:
        try:
            params = await self._bind(batch)
        except DATABASE_ERRORS as error:
            self._log.warning(
                "cannot read results of steps, releasing leases", reason=reason_of(error), **batch_fields(batch)
            )
            await self._endings.release_later(batch)
            return
        self._run(batch, params)

    def _run(self, batch: Sequence[Lease], params: Mapping[UUID, str]) -> None:
        decisions: dict[UUID, RouteDecision] = {}
        try:
            self._decide(batch, decisions)
        except UnavailableError as error:
            self._log.warning(
                "nothing to decide with yet, releasing leases", reason=reason_of(error), **batch_fields(batch)
            )
        if undecided := self._route(batch, params, decisions):
            self._jobs.start(self._endings.release_later(undecided))
        # After the tasks have begun: they need not wait for it.
        self._reports.observe(batch)

    def _decide(self, batch: Sequence[Lease], decisions: dict[UUID, RouteDecision]) -> None:
        """Decide about a batch; a task that cannot be decided about is found, and holds up no other."""
        try:
            found = self._decider.decide(batch)
            if len(found) != len(batch):
                raise ValueError(f"{len(found)} decisions for {len(batch)} tasks")
        except UnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a task, the others must run
            if len(batch) == 1:
                self.counts["refused_tasks"] += 1
                self._log.error("a task cannot be decided about", exc_info=error, **lease_fields(batch[0]))
                self._endings.refuse(batch[0], error)
                return
            half = len(batch) // 2
            for part in (batch[:half], batch[half:]):
                self._decide(part, decisions)
        else:
            decisions.update({lease.id: decision for lease, decision in zip(batch, found, strict=True)})

    async def _bind(self, batch: Sequence[Lease]) -> dict[UUID, str]:
        """The params of tasks that take results of earlier steps.

        A step whose input is missing fails: what ended before it does not change.
        """
        texts: dict[UUID, str] = {}

        async def bind(part: Sequence[Lease]) -> None:
            for lease, (text, missing) in zip(part, await self._leases.bind(part), strict=True):
                if missing:
                    self._fail_unbound(lease, f"no earlier step's result has what this one takes: {missing}")
                else:
                    texts[lease.id] = text

        await split_refused(batch, bind, is_row_error, lambda lease, why: self._fail_unbound(lease, str(why)))
        return texts

    def _fail_unbound(self, lease: Lease, message: str) -> None:
        if (held := self._in_flight.held.get(lease.id)) is not None:
            self._endings.retry_or_fail(held, FailureCode.INPUT_MISSING, message, retry=False)

    def _route(
        self, batch: Sequence[Lease], params: Mapping[UUID, str], decisions: Mapping[UUID, RouteDecision]
    ) -> list[Lease]:
        """Begin what was decided; returns the leases to release."""
        by_host: dict[str, list[tuple[Call, HeldLease]]] = {}
        to_plan: list[tuple[HeldLease, RouteDecision]] = []
        undecided: list[Lease] = []
        traces = self._traces
        for lease in batch:
            held, decision = self._in_flight.held.get(lease.id), decisions.get(lease.id)
            if held is None:
                continue
            if decision is None or held.late:
                # What is late is not begun: the claim that finds it next ends it.
                undecided.append(lease)
            elif decision.route == "fast" and decision.host and decision.agent:
                self._in_flight.begin(lease.id, with_reason(lease, decision))
                given = params.get(lease.id, lease.params)
                call = call_of(lease, decision.agent, given, traces.carried(lease))
                by_host.setdefault(decision.host, []).append((call, held))
            elif decision.route == "plan":
                to_plan.append((held, decision))
            elif decision.route == "hold":
                self._jobs.start(self._endings.hold(held, decision))
            elif decision.route == "reject":
                self._endings.reject(held, decision)
            else:
                undecided.append(lease)
        self.plans.start(to_plan)
        for host, calls in by_host.items():
            self.hosts.start(host, calls)
        return undecided
