"""Runs a claimed batch: fills in the results of earlier steps, gets decisions, and hands each task to its route."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from structlog.typing import FilteringBoundLogger

from seedcore.settings import Settings
from seedcore.skills.host_protocol import Call
from seedcore.stores.sqlstates import is_row_error
from seedcore.tasks.failure_codes import FailureCode
from seedcore.tasks.model import Lease
from seedcore.utils.batch_split import split_refused
from seedcore.worker.attempt_endings import AttemptEndings
from seedcore.worker.decisions.decision_requests import DecisionRequests
from seedcore.worker.host_runner import HostRunner
from seedcore.worker.in_flight import HeldLease, InFlight
from seedcore.worker.job_set import JobSet
from seedcore.worker.outcome_records import call_of, reason_of, with_reason
from seedcore.worker.planning.plan_route import PlanRunner
from seedcore.worker.ports import RouteDecision, WorkerPorts
from seedcore.worker.skill_catalog import SkillCatalog


class BatchRunner:
    """The batches in flight of one dispatcher.

    Attributes:
        hosts, plans: the routes that take time.
        counts: what was refused, and what was out of bounds.
        deciding: batches that the Coordinator has not answered for.
    """

    def __init__(
        self, settings: Settings, ports: WorkerPorts, in_flight: InFlight, jobs: JobSet, log: FilteringBoundLogger
    ) -> None:
        self._leases, self._in_flight, self._jobs, self._log = ports.leases, in_flight, jobs, log
        skills = SkillCatalog(settings)
        self._endings = AttemptEndings(settings, ports.leases, in_flight, skills, log)
        self.counts = self._endings.counts
        self._requests = DecisionRequests(ports.decisions, in_flight.feedback, log, self.counts)
        self.hosts = HostRunner(ports.hosts, ports.leases, in_flight, self._endings, jobs, log)
        self.plans = PlanRunner(settings, ports, in_flight, self._endings, skills, jobs, log, run_directly=self.start)
        self.deciding = 0

    def start(self, batch: Sequence[Lease]) -> None:
        """Run a batch while the caller goes on; what cannot run now is released after a moment."""
        self.deciding += 1
        self._jobs.start(self._run(batch))

    async def abandon(self) -> None:
        """Cancel everything: the session was lost, or its time is over."""
        await self._jobs.cancel()
        # Those that were cancelled before they had begun counted nothing down.
        self.deciding = 0

    async def _run(self, batch: Sequence[Lease]) -> None:
        try:
            try:
                params = await self._bind(batch)
                answers = await self._requests.decide(batch)
            finally:
                self.deciding -= 1
                self._in_flight.changed.set()
        except Exception as error:  # noqa: BLE001 - whatever is wrong, these leases must not be kept
            self._log.warning("coordinator unavailable, releasing leases", tasks=len(batch), reason=reason_of(error))
            await self._endings.release_later(batch)
            return
        for lease, why in answers.refused:
            self._endings.refuse(lease, why)
        # Those that were decided are begun before anything else runs: see `FeedbackCollector.answered`.
        undecided = self._route(batch, params, answers.decisions)
        if answers.interrupted is not None:
            self._log.warning("coordinator became unavailable", reason=reason_of(answers.interrupted))
        if undecided:
            await self._endings.release_later(undecided)

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

        bound = [lease for lease in batch if lease.bindings]
        await split_refused(bound, bind, is_row_error, lambda lease, why: self._fail_unbound(lease, str(why)))
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
        for lease in batch:
            held, decision = self._in_flight.held.get(lease.id), decisions.get(lease.id)
            if held is None:
                continue
            if decision is None or held.late:
                # What is late is not begun: the claim that finds it next ends it.
                undecided.append(lease)
            elif decision.route == "fast" and decision.host and decision.agent:
                self._in_flight.begin(lease.id, with_reason(lease, decision))
                call = call_of(lease, decision.agent, params.get(lease.id, lease.params))
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
