"""Runs the route `plan`: makes a task's plan and stores it, or runs the task as it is when no plan is available.

Plans are made in the slow lane: a few at a time, so that they hold up no quick task.
"""

import json
from collections.abc import Callable, Iterable, Sequence

from structlog.typing import FilteringBoundLogger

from seedcore.errors import SeedCoreError
from seedcore.settings import Settings
from seedcore.stores.postgres import DATABASE_ERRORS
from seedcore.stores.sqlstates import is_row_error
from seedcore.tasks.failure_codes import FailureCode
from seedcore.tasks.model import GOAL, Lease, Usage
from seedcore.tasks.plans.moves import SampleFullError
from seedcore.telemetry.metrics import counter
from seedcore.worker.attempt_endings import AttemptEndings
from seedcore.worker.decisions.route_decision import RouteDecision
from seedcore.worker.in_flight import HeldLease, InFlight
from seedcore.worker.job_set import JobSet
from seedcore.worker.measuring.attempt_metrics import count_stale
from seedcore.worker.outcome_records import decision_text, lease_fields, own_plan_reason, reason_of, reason_text
from seedcore.worker.planning.escalated_plans import SAMPLE_FIRST, PersonWantedError
from seedcore.worker.planning.own_plans import OwnPlan
from seedcore.worker.planning.plan_maker import OverBudgetError, PlanMaker, StorablePlan
from seedcore.worker.planning.plan_steps import facts_of, planning_usage
from seedcore.worker.ports import WorkerPorts
from seedcore.worker.skill_catalog import SkillCatalog

_PLANS = counter("seedcore_plans_total")


class PlanRunner:
    """Plans leased tasks.

    Args:
        run_directly: takes leases that run without a plan; they need another decision.
    """

    def __init__(
        self,
        settings: Settings,
        ports: WorkerPorts,
        in_flight: InFlight,
        endings: AttemptEndings,
        skills: SkillCatalog,
        jobs: JobSet,
        log: FilteringBoundLogger,
        *,
        run_directly: Callable[[Sequence[Lease]], None],
    ) -> None:
        self._slow_slots, self._leases, self._in_flight = settings.slow_slots, ports.leases, in_flight
        self._endings, self._jobs, self._log, self._run_leases = endings, jobs, log, run_directly
        self._maker = PlanMaker(settings, ports.leases, ports.plans, skills)
        self._planning = 0

    @property
    def slots_taken(self) -> int:
        """How many places of the slow lane are taken."""
        return self._in_flight.slow + self._planning

    def start(self, tasks: Iterable[tuple[HeldLease, RouteDecision]]) -> None:
        """Plan tasks while the caller goes on, as far as the slow lane has places; the others wait in that lane."""
        own_plans = []
        for held, decision in tasks:
            if (own := self._maker.own_plan(held.lease, decision)) is not None:
                own_plans.append((held, *own_plan_reason(decision, own.reason)))
            elif held.lease.slow or self.slots_taken < self._slow_slots:
                self._planning += not held.lease.slow
                self._jobs.start(self._run(held, decision))
            else:
                self._in_flight.release(held.lease, slow=True)
        self._run_directly(own_plans)

    async def _run(self, held: HeldLease, decision: RouteDecision) -> None:
        try:
            if self._in_flight.holds(held):
                held.decision = decision
                await self._plan(held, decision)
        finally:
            self._planning -= not held.lease.slow
            self._in_flight.changed.set()

    async def _plan(self, held: HeldLease, decision: RouteDecision) -> None:
        try:
            plan = await self._maker.make(held.lease, decision)
        except OverBudgetError as error:
            self._no_plan(held, FailureCode.BUDGET_EXCEEDED, str(error), retry=False)
        except PersonWantedError as asked:
            _PLANS.add(1, outcome="person")
            await self._endings.hold(held, asked.decision)
        except SeedCoreError as error:
            usage = planning_usage(error.extra.get("usage"))
            self._no_plan(held, error.code, error.detail, retry=error.transient, usage=usage)
        except DATABASE_ERRORS as error:
            self._log.warning(
                "cannot read earlier plans, releasing the lease", reason=reason_of(error), **lease_fields(held.lease)
            )
            await self._endings.release_later([held.lease])
        except Exception as error:  # noqa: BLE001 - a plan of another shape than agreed: an attempt that failed
            self._no_plan(held, FailureCode.PLAN_UNUSABLE, reason_of(error))
        else:
            if isinstance(plan, OwnPlan):
                _PLANS.add(1, outcome="own")
                self._run_directly([(held, *own_plan_reason(decision, plan.reason))])
            else:
                await self._store(held, plan)

    def _no_plan(
        self, held: HeldLease, code: str, message: str, *, retry: bool = True, usage: Usage | None = None
    ) -> None:
        """Retry or fail a goal; run what names a skill as it is, with a decision that says so."""
        if held.lease.type == GOAL:
            _PLANS.add(1, outcome="failed")
            self._endings.retry_or_fail(held, code, message, retry=retry, usage=usage)
        else:
            _PLANS.add(1, outcome="unplanned")
            counter("seedcore_fallbacks_total").add(1, fallback="no_plan")
            self._in_flight.reports.count_unplanned()
            self._run_directly([(held, "no_plan", f"no plan ({code}): {reason_text(message)}")])

    def _run_directly(self, tasks: Iterable[tuple[HeldLease, str, str]]) -> None:
        """Run tasks without a plan, each with rule and reason of that: one request for all of them."""
        batch = []
        for held, rule, reason in tasks:
            if self._in_flight.holds(held):
                held.lease.unplanned, held.decision = (rule, reason), None
                batch.append(held.lease)
        if batch:
            self._run_leases(batch)

    async def _store(self, held: HeldLease, plan: StorablePlan) -> None:
        held.decision = plan.decision
        record = decision_text(plan.decision)
        try:
            stored = await self._leases.store_plan(
                held.lease,
                record,
                json.dumps(plan.plan),
                plan.steps,
                plan.terms,
                plan.done,
                facts_of(plan.plan),
                plan.move,
                plan.usage,
            )
        except SampleFullError as full:
            _PLANS.add(1, outcome="waits")
            waits = RouteDecision("hold", SAMPLE_FIRST, str(full), evidence=plan.decision.evidence)
            await self._endings.hold(held, waits)
        except DATABASE_ERRORS as error:
            if is_row_error(error):
                self._endings.retry_or_fail(held, FailureCode.PLAN_UNUSABLE, f"PostgreSQL cannot keep it: {error}")
                return
            self._log.warning(
                "cannot store a plan, releasing the lease", reason=reason_of(error), **lease_fields(held.lease)
            )
            await self._endings.release_later([held.lease])
        else:
            count_stale("plan", not stored)
            outcome = "stored" if plan.move is None else "move"
            _PLANS.add(1, outcome="recipe" if plan.terms.recipe else outcome)
            if stored:
                self._endings.traces.planned(held, plan.decision, len(plan.steps))
            self._in_flight.drop(held.lease.id)
