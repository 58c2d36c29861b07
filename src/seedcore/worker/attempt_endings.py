"""How attempts end: completed, failed, retried, held for a person, or released without costing an attempt."""

import asyncio
import time
from collections.abc import Sequence

from structlog.typing import FilteringBoundLogger

from seedcore.errors import SeedCoreError
from seedcore.settings import Settings
from seedcore.skills.host_protocol import Completion
from seedcore.skills.skill_decorator import RetryPolicy
from seedcore.stores.postgres import DATABASE_ERRORS
from seedcore.stores.sqlstates import is_row_error
from seedcore.tasks.failure_codes import FailureCode
from seedcore.tasks.model import Lease, Outcome, Retry, Status, Usage
from seedcore.tasks.retry import jittered_s
from seedcore.telemetry.metrics import counter
from seedcore.worker.decisions.route_decision import RouteDecision
from seedcore.worker.in_flight import HeldLease, InFlight
from seedcore.worker.measuring.attempt_metrics import count_stale
from seedcore.worker.measuring.task_traces import TaskTraces
from seedcore.worker.outcome_records import bounded, decision_text, failure_text, lease_fields, reason_of, usage_of
from seedcore.worker.ports import LeaseStore
from seedcore.worker.skill_catalog import SkillCatalog, longest_pause_s

RELEASE_PAUSE_S = 0.25
"""A task that no agent can take, or that nothing was decided about, is looked at again after about this long."""


class AttemptEndings:
    """Turns what happened to a lease into a write for the next flush; `counts` says what was out of bounds."""

    def __init__(
        self,
        settings: Settings,
        leases: LeaseStore,
        in_flight: InFlight,
        skills: SkillCatalog,
        log: FilteringBoundLogger,
        traces: TaskTraces,
    ) -> None:
        self._settings, self._leases, self._in_flight = settings, leases, in_flight
        self._skills, self._log, self.traces = skills, log, traces
        self.counts = {"bounded_reports": 0}

    def record(self, held: HeldLease, completion: Completion) -> None:
        """End a lease as its host says; an answer that cannot be used is an attempt that failed."""
        try:
            self._record(held, completion)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not touch the others of its chunk
            self._log.error("unusable answer of a host", exc_info=error, **lease_fields(held.lease))
            self.retry_or_fail(
                held, FailureCode.ANSWER_UNUSABLE, f"its host's answer cannot be used: {reason_of(error)}"
            )

    def _record(self, held: HeldLease, completion: Completion) -> None:
        if held.lease.token != completion.token:
            return
        if (possible := bounded(completion)) is not completion:
            self.counts["bounded_reports"] += 1
            counter("seedcore_fallbacks_total").add(1, fallback="bounded_report")
            self._log.warning(
                "host reported impossible figures, bounded",
                **lease_fields(held.lease),
                seconds=completion.seconds,
                usage=completion.usage,
            )
            completion = possible
        held.answered, held.ran_s = time.monotonic(), completion.seconds
        self._in_flight.reports.record_completion(completion, held.decision, held.lease.domain)
        usage = usage_of(completion)
        if completion.ok:
            self._finish(held, Status.COMPLETED, result=completion.result, usage=usage)
        else:
            self.retry_or_fail(
                held,
                completion.error_code or FailureCode.FAILED,
                completion.error_message or "",
                retry=completion.retryable,
                within_s=completion.retry_within_s,
                usage=usage,
            )

    def retry_or_fail(
        self,
        held: HeldLease,
        code: str,
        message: str,
        *,
        retry: bool = True,
        within_s: float | None = None,
        usage: Usage | None = None,
        lost: bool = False,
    ) -> None:
        """Retry a failed attempt later (exponential backoff, full jitter), or fail the task when none is left.

        `within_s` is the longest pause that the skill's own policy gives; SeedCore's default when None. `lost`:
        its host said nothing of the run.
        """
        lease, (code, message) = held.lease, failure_text(code, message)
        if retry and lease.attempt < lease.max_attempts:
            if within_s is None:
                within_s = longest_pause_s(RetryPolicy(), lease.attempt, self._settings)
            delay_s = jittered_s(within_s)
            self.traces.ended(held, (code, message), pause_s=delay_s, lost=lost)
            self._in_flight.retry(Retry(lease.id, lease.token, delay_s, code, message, lease.limit_key, usage))
        else:
            self._finish(held, Status.FAILED, error_code=code, error_message=message, usage=usage, lost=lost)

    async def retry_lost(self, lost: Sequence[HeldLease], code: str, message: str) -> None:
        """Retry attempts whose host cannot say how they ended, as their skills' own policies have it."""
        policies: dict[str, RetryPolicy] = {}
        try:
            registry = await self._skills.registry()
        except Exception as error:  # noqa: BLE001 - a user's module may raise anything; the defaults hold then
            counter("seedcore_fallbacks_total").add(1, fallback="default_retry_policy")
            self._log.warning("retry policies of skills unknown, using the defaults", reason=reason_of(error))
        else:
            policies = {name: spec.retry for name, spec in registry.items()}
        for held in lost:
            # It may have been cancelled meanwhile.
            if self._in_flight.holds(held):
                policy = policies.get(held.lease.type, RetryPolicy())
                within_s = longest_pause_s(policy, held.lease.attempt, self._settings)
                self.retry_or_fail(held, code, message, within_s=within_s, lost=True)

    def refuse(self, lease: Lease, error: Exception) -> None:
        """End the attempt of a task that cannot be decided about; an error that may pass is retried."""
        if (held := self._in_flight.held.get(lease.id)) is not None:
            permanent = isinstance(error, SeedCoreError) and not error.transient
            message = f"it cannot be decided about: {reason_of(error)}"
            self.retry_or_fail(held, FailureCode.DECISION_REFUSED, message, retry=not permanent)

    def reject(self, held: HeldLease, decision: RouteDecision) -> None:
        """Fail a task that the policy rejects."""
        held.decision = decision
        self._finish(held, Status.FAILED, error_code=FailureCode.POLICY_REJECTED, error_message=decision.reason)

    async def hold(self, held: HeldLease, decision: RouteDecision) -> None:
        """Let a task wait for a person."""
        try:
            stored = await self._leases.hold(
                held.key,
                decision_text(decision),
                expires_s=decision.hold_s or self._settings.approval_s,
                on_expiry=self._settings.approval_on_expiry,
            )
        except DATABASE_ERRORS as error:
            if is_row_error(error):
                if self._in_flight.holds(held):
                    self.retry_or_fail(
                        held, FailureCode.HOLD_NOT_STORABLE, f"PostgreSQL cannot keep it: {error}", retry=False
                    )
                return
            self._log.warning(
                "cannot hold a task, releasing its lease", reason=reason_of(error), **lease_fields(held.lease)
            )
            await self.release_later([held.lease])
        else:
            count_stale("hold", not stored)
            if stored:
                self.traces.held_for_approval(held, decision)
            self._in_flight.drop(held.lease.id)

    async def release_later(self, leases: Sequence[Lease]) -> None:
        """Release leases after a moment: nothing can be done for them now."""
        await asyncio.sleep(RELEASE_PAUSE_S)
        for lease in leases:
            self._in_flight.release(lease)

    def _finish(
        self,
        held: HeldLease,
        status: Status,
        *,
        result: str | None = None,
        error_code: str | None = None,
        error_message: str | None = None,
        usage: Usage | None = None,
        lost: bool = False,
    ) -> None:
        lease = held.lease
        failure = None if error_code is None else (error_code, error_message or "")
        self.traces.ended(held, failure, lost=lost)
        self._in_flight.finish(
            Outcome(
                lease.id,
                lease.token,
                status,
                result=result,
                error_code=error_code,
                error_message=error_message,
                decision=None if held.decision is None else decision_text(held.decision),
                began=held.begun is not None and not held.announced,
                follow_up=lease.follow_up or usage is not None,
                usage=usage,
                counts_for=(lease.tenant, lease.type, (held.decision and held.decision.agent) or ""),
            )
        )
