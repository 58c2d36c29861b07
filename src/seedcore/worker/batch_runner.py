"""What becomes of a claimed batch: the Coordinator decides, hosts run it, plans are made; the ledger takes the ends."""

import asyncio
import json
import random
from collections.abc import Awaitable, Coroutine, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from seedcore.errors import SeedCoreError
from seedcore.settings import Settings
from seedcore.skills.host_protocol import HANDED_BACK, Call, Completion
from seedcore.stores.postgres import DATABASE_ERRORS, Database
from seedcore.stores.sqlstates import is_row_error
from seedcore.tasks import leases
from seedcore.tasks.model import GOAL, Lease, Outcome, Retry, Status, Usage
from seedcore.tasks.plans import repository as plan_repository
from seedcore.telemetry.logs import get_logger
from seedcore.utils.isolation import split_refused
from seedcore.worker import lease_checks
from seedcore.worker.decision_requests import Questions, reason_of
from seedcore.worker.in_flight import Held, Ledger
from seedcore.worker.outcome_records import (
    bounded,
    call_of,
    decision_text,
    failure_text,
    reason_text,
    usage_of,
    why_itself,
    with_reason,
)
from seedcore.worker.plan_maker import Made, OverBudgetError, Planner
from seedcore.worker.ports import Brain, Decision, HostLostError, Hosts, HostUnavailableError

# No agent can take it just now, or no decision is available: look again after about this long.
PATIENCE_S = 0.25


class Work:
    """The batches in flight of one dispatcher."""

    def __init__(
        self, settings: Settings, database: Database, brain: Brain, hosts: Hosts, ledger: Ledger, name: str
    ) -> None:
        self._settings, self._database = settings, database
        self._hosts, self._ledger = hosts, ledger
        self._planner = Planner(settings, database, brain)
        self._log = get_logger("seedcore.dispatch", dispatcher=name)
        self.counts = {"bounded_reports": 0}
        self._questions = Questions(brain, ledger, self._log, self.counts)
        self.jobs: set[asyncio.Task[None]] = set()
        self.planning = 0
        self.deciding = 0
        """Batches that the Coordinator has not answered for."""

    def slow_running(self) -> int:
        """How many places of the slow lane are taken."""
        return self._ledger.slow + self.planning

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Go on with `work` beside everything else."""
        job = asyncio.create_task(self._logged(work))
        self.jobs.add(job)
        job.add_done_callback(self.jobs.discard)

    async def abandon(self) -> None:
        """Cancel everything: the session was lost, or its time is over."""
        jobs = list(self.jobs)
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
        # Those that were cancelled before they had begun counted nothing down.
        self.deciding = 0

    async def _logged(self, work: Awaitable[None]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - a job must not die unseen; its leases are watched by the heartbeat
            self._log.error("a batch broke", exc_info=error)

    def take(self, batch: list[Lease]) -> None:
        """Decide and begin; what nobody can take now is given back after a moment."""
        self.deciding += 1
        self.start(self._handle(batch))

    async def _handle(self, batch: list[Lease]) -> None:
        try:
            try:
                params = await self._bind(batch)
                answers = await self._questions.decide(batch)
            finally:
                self.deciding -= 1
                self._ledger.changed.set()
        except Exception as error:  # noqa: BLE001 - whatever is wrong there, these leases must not be kept
            self._log.warning("no decisions, giving back", tasks=len(batch), reason=reason_of(error))
            await self._put_off(batch)
            return
        for lease, why in answers.refused:
            self._refused(lease, why)
        # Those that were decided are begun before anything else runs: see `Ledger.answered`.
        put_off = self._begin(batch, params, answers.decisions)
        if answers.interrupted is not None:
            self._log.warning("the Coordinator went away between questions", reason=reason_of(answers.interrupted))
        if put_off:
            await self._put_off(put_off)

    def _begin(
        self, batch: Sequence[Lease], params: Mapping[UUID, str], decisions: Mapping[UUID, Decision]
    ) -> list[Lease]:
        """Begin what was decided; returns those that are to be given back."""
        by_host: dict[str, list[tuple[Call, Held]]] = {}
        put_off: list[Lease] = []
        themselves: list[tuple[Held, str, str]] = []
        for lease in batch:
            held, decision = self._ledger.held.get(lease.id), decisions.get(lease.id)
            if held is None:
                continue
            if decision is None or held.late:
                # What is late is not begun: the claim that finds it next ends it.
                put_off.append(lease)
            elif decision.route == "fast" and decision.host and decision.agent:
                self._ledger.begin(lease.id, with_reason(lease, decision))
                call = call_of(lease, decision.agent, params.get(lease.id, lease.params))
                by_host.setdefault(decision.host, []).append((call, held))
            elif decision.route == "plan" and self._planner.is_itself(lease):
                themselves.append((held, *why_itself(decision)))
            else:
                self._not_fast(lease, decision, put_off)
        self._run_directly(themselves)
        for host, calls in by_host.items():
            self.start(self._run_on(host, calls))
        return put_off

    def _refused(self, lease: Lease, error: Exception) -> None:
        """A task that the Coordinator decides nothing about fails; an error of the Coordinator's own may pass."""
        if (held := self._ledger.held.get(lease.id)) is not None:
            wrong = isinstance(error, SeedCoreError) and not error.transient
            message = f"the Coordinator refuses to decide about it: {reason_of(error)}"
            self.again_or_fail(held, "decision_refused", message, again=not wrong)

    async def _put_off(self, batch: Sequence[Lease]) -> None:
        await asyncio.sleep(PATIENCE_S)
        for lease in batch:
            self._ledger.give_back(lease)

    async def _bind(self, batch: list[Lease]) -> dict[UUID, str]:
        """The params of those that take results of earlier steps; a step whose input is missing fails for good."""
        bound = [lease for lease in batch if lease.bindings]
        texts: dict[UUID, str] = {}
        if bound:
            async with self._database.connection() as connection:

                async def bind(part: Sequence[Lease]) -> None:
                    found = await plan_repository.bind_params(connection, part)
                    for lease, (text, missing) in zip(part, found, strict=True):
                        if missing:
                            self._no_input(lease, f"no earlier step's result has what this one takes: {missing}")
                        else:
                            texts[lease.id] = text

                await split_refused(bound, bind, is_row_error, lambda lease, why: self._no_input(lease, str(why)))
        return texts

    def _no_input(self, lease: Lease, message: str) -> None:
        if (held := self._ledger.held.get(lease.id)) is not None:
            self.again_or_fail(held, "input_missing", message, again=False)

    def _not_fast(self, lease: Lease, decision: Decision, put_off: list[Lease]) -> None:
        if decision.route == "plan":
            self._plan_or_queue(lease, decision)
        elif decision.route == "hold":
            self.start(self._hold(lease, decision))
        elif decision.route == "reject":
            held = self._ledger.held[lease.id]
            held.decision = decision
            self._ledger.end(
                self._outcome(held, Status.FAILED, error_code="policy_rejected", error_message=decision.reason)
            )
        else:
            put_off.append(lease)

    # -- on hosts ------------------------------------------------------------------------------------------

    async def _run_on(self, host: str, calls: Sequence[tuple[Call, Held]]) -> None:
        left = {call.task_id: held for call, held in calls}
        try:
            await self._announce(lease_checks.long_held(left.values()))
            async for chunk in self._hosts.run(host, [call for call, _ in calls]):
                self._take(chunk, left)
            if left:
                raise HostLostError("it answered for some of the calls only")
        except HostUnavailableError as error:
            self._log.warning("host does not answer, giving back", host=host, tasks=len(left), reason=str(error))
            await self._put_off([held.lease for held in self._still_held(left.values())])
        except Exception as error:  # noqa: BLE001 - HostLostError, or what nobody foresaw: the calls had begun
            self._log.warning("host lost", host=host, tasks=len(left), reason=reason_of(error))
            for held in self._still_held(left.values()):
                self.again_or_fail(held, "host_lost", f"the host {host} ended while the task ran")

    async def _announce(self, tasks: Sequence[Held]) -> None:
        """Say that these begin before they do: should this process be lost, it is known that they had."""
        if not tasks:
            return
        for held in tasks:
            held.announced = True
        try:
            async with self._database.connection() as connection:
                await leases.started(connection, [(held.lease.id, held.lease.token) for held in tasks])
        except DATABASE_ERRORS as error:
            raise HostUnavailableError(f"its start cannot be written: {reason_of(error)}") from error

    def _still_held(self, left: Iterable[Held]) -> list[Held]:
        return [held for held in left if self._ledger.held.get(held.lease.id) is held]

    def _take(self, chunk: Sequence[Completion], left: dict[str, Held]) -> None:
        handed_back = []
        for completion in chunk:
            held = left.pop(completion.task_id, None)
            if held is None or self._ledger.held.get(held.lease.id) is not held:
                continue
            if completion.error_code == HANDED_BACK:
                handed_back.append(held.lease)
            else:
                self._completed_or_not(held, completion)
        if handed_back:
            self._log.warning("host hands back", tasks=len(handed_back), reason=completion.error_message)
            self.start(self._put_off(handed_back))

    def _completed_or_not(self, held: Held, completion: Completion) -> None:
        """One answer that cannot be read is an attempt that failed, and nothing to the others of its chunk."""
        try:
            self._completed(held, completion)
        except Exception as error:  # noqa: BLE001 - of its own kind, whatever it is
            self._log.error("unusable answer of a host", task=completion.task_id, exc_info=error)
            self.again_or_fail(held, "answer_unusable", f"its host's answer cannot be used: {reason_of(error)}")

    def _completed(self, held: Held, completion: Completion) -> None:
        if held.lease.token != completion.token:
            return
        if (fit := bounded(completion)) is not completion:
            self.counts["bounded_reports"] += 1
            self._log.warning(
                "out of bounds", task=completion.task_id, seconds=completion.seconds, usage=completion.usage
            )
            completion = fit
        self._ledger.learn(completion, held.decision, held.lease.domain)
        if completion.ok:
            self._ledger.end(
                self._outcome(held, Status.COMPLETED, result=completion.result, usage=usage_of(completion))
            )
        else:
            self.again_or_fail(
                held,
                completion.error_code or "failed",
                completion.error_message or "",
                again=completion.retryable,
                within_s=completion.retry_within_s,
                usage=usage_of(completion),
            )

    def _outcome(self, held: Held, status: Status, *, usage: Usage | None = None, **fields: Any) -> Outcome:
        lease, decision = held.lease, None if held.decision is None else decision_text(held.decision)
        return Outcome(
            lease.id,
            lease.token,
            status,
            decision=decision,
            began=held.begun is not None and not held.announced,
            follow_up=lease.follow_up or usage is not None,
            usage=usage,
            **fields,
        )

    def again_or_fail(
        self,
        held: Held,
        code: str,
        message: str,
        *,
        again: bool = True,
        within_s: float | None = None,
        usage: Usage | None = None,
    ) -> None:
        """Put a failed attempt off (exponential backoff, full jitter), or end the task when none is left.

        `within_s` is the longest pause that the skill's own policy gives; SeedCore's when None.
        """
        lease, (code, message) = held.lease, failure_text(code, message)
        if again and lease.attempt < lease.max_attempts:
            longest = min(self._settings.retry_max_s, self._settings.retry_base_s * 2 ** (lease.attempt - 1))
            delay = random.uniform(0, longest if within_s is None else within_s)  # noqa: S311 - jitter
            self._ledger.again(Retry(lease.id, lease.token, delay, code, message, lease.limit_key, usage))
        else:
            self._ledger.end(self._outcome(held, Status.FAILED, error_code=code, error_message=message, usage=usage))

    async def cancel(self, gone: Sequence[Held]) -> None:
        """These tasks are no longer ours: stop them where they run."""
        by_host: dict[str, list[str]] = {}
        for held in gone:
            self._ledger.drop(held.lease.id)
            if held.decision is not None and held.decision.host is not None:
                by_host.setdefault(held.decision.host, []).append(str(held.lease.id))
        for host, task_ids in by_host.items():
            await self._hosts.cancel(host, task_ids)

    # -- people, and plans (the slow lane) -----------------------------------------------------------------

    async def _hold(self, lease: Lease, decision: Decision) -> None:
        try:
            async with self._database.connection() as connection:
                await leases.hold(
                    connection,
                    [(lease.id, lease.token, decision_text(decision))],
                    expires_s=decision.hold_s or self._settings.approval_s,
                    on_expiry=self._settings.approval_on_expiry,
                )
        except DATABASE_ERRORS as error:
            held = self._ledger.held.get(lease.id)
            if held is not None and is_row_error(error):
                self.again_or_fail(held, "hold_not_storable", f"PostgreSQL cannot keep it: {error}", again=False)
                return
            self._log.warning("cannot hold, giving back", reason=reason_of(error))
            await self._put_off([lease])
        else:
            self._ledger.drop(lease.id)

    def _plan_or_queue(self, lease: Lease, decision: Decision) -> None:
        """Plan now when a place of the slow lane is free; otherwise the task waits in that lane, not here."""
        if lease.slow or self.slow_running() < self._settings.slow_slots:
            self.planning += not lease.slow
            self.start(self._plan(lease, decision))
        else:
            self._ledger.give_back(lease, slow=True)

    async def _plan(self, lease: Lease, decision: Decision) -> None:
        try:
            held = self._ledger.held.get(lease.id)
            if held is not None:
                held.decision = decision
                await self._make_plan(held, decision)
        finally:
            self.planning -= not lease.slow
            self._ledger.changed.set()

    async def _make_plan(self, held: Held, decision: Decision) -> None:
        try:
            made = await self._planner.make(held.lease, decision)
        except OverBudgetError as error:
            self._no_plan(held, "budget_exceeded", str(error), again=False)
            return
        except SeedCoreError as error:
            self._no_plan(held, error.code, error.detail, again=error.transient)
            return
        except DATABASE_ERRORS as error:
            self._log.warning("cannot read what was planned before, giving back", reason=reason_of(error))
            await self._put_off([held.lease])
            return
        except Exception as error:  # noqa: BLE001 - a plan of another shape than agreed: an attempt that failed
            self._no_plan(held, "plan_unusable", f"{type(error).__name__}: {error}")
            return
        if made is None:
            self._run_directly([(held, *why_itself(decision))])
        else:
            await self._store_plan(held, made)

    def _no_plan(self, held: Held, code: str, message: str, *, again: bool = True) -> None:
        """A goal is tried again or fails; what names a skill runs as it is, and its decision says so."""
        if held.lease.type == GOAL:
            self.again_or_fail(held, code, message, again=again)
        else:
            self._ledger.unplanned()
            self._run_directly([(held, "no_plan", f"no plan ({code}): {reason_text(message)}")])

    def _run_directly(self, tasks: Iterable[tuple[Held, str, str]]) -> None:
        """Ask again for tasks that run without a plan, with rule and reason of that: one question for all of them."""
        batch = []
        for held, rule, reason in tasks:
            if self._ledger.held.get(held.lease.id) is held:
                held.lease.unplanned, held.decision = (rule, reason), None
                batch.append(held.lease)
        if batch:
            self.take(batch)

    async def _store_plan(self, held: Held, made: Made) -> None:
        held.decision = made.decision
        record = decision_text(made.decision)
        try:
            async with self._database.connection() as connection:
                await plan_repository.store_plan(
                    connection, held.lease, record, json.dumps(made.plan), made.steps, made.terms, made.done
                )
        except DATABASE_ERRORS as error:
            if is_row_error(error):
                self.again_or_fail(held, "plan_unusable", f"PostgreSQL cannot keep it: {error}")
                return
            self._log.warning("cannot store a plan, giving back", reason=reason_of(error))
            await self._put_off([held.lease])
        else:
            self._ledger.drop(held.lease.id)
