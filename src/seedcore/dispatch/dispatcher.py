"""A dispatcher: claims what it has room for, lets the Coordinator decide, runs it on hosts, writes how it ended.

It knows neither Ray nor HTTP; `ports` says what it needs. Whatever happens to it, the database keeps the truth:
leases end with its heartbeat, and every write names its fencing token.
"""

import asyncio
import contextlib
import json
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any
from uuid import UUID, uuid4

from seedcore.dispatch import watch
from seedcore.dispatch.ledger import Held, Ledger
from seedcore.dispatch.planning import make_plan
from seedcore.dispatch.ports import Brain, Decision, HostLostError, Hosts, HostUnavailableError, features
from seedcore.dispatch.writer import Writer
from seedcore.errors import SeedCoreError
from seedcore.settings import Settings
from seedcore.skills.calls import Call, Completion
from seedcore.stores.postgres import DATABASE_ERRORS, Database
from seedcore.tasks import leases, reap
from seedcore.tasks.model import Lease, Outcome, Retry, Status
from seedcore.utils.logs import get_logger

READY_CHANNEL, CANCEL_CHANNEL = "seedcore_ready", "seedcore_cancel"
# No agent can take it just now, or nobody decides: look again after about this long.
PATIENCE_S = 0.25


class SessionLostError(Exception):
    """The session was reaped: everything held belongs to others now."""


class Dispatcher:
    """Runs the tasks of one queue until `stop`."""

    def __init__(
        self,
        settings: Settings,
        name: str,
        queue: str,
        database: Database,
        brain: Brain,
        hosts: Hosts,
        actor: str | None = None,
    ) -> None:
        # The same over restarts of one dispatcher; another cluster's dispatcher of the same name has another.
        self._actor = actor or str(uuid4())
        self.settings, self.name, self.queue = settings, name, queue
        self._database, self._brain, self._hosts = database, brain, hosts
        self._ledger = Ledger()
        self._writer = Writer(database, self._ledger)
        self._session: UUID | None = None
        self._wake, self._stop = asyncio.Event(), asyncio.Event()
        self._jobs: set[asyncio.Task[None]] = set()
        self._planning = asyncio.Semaphore(8)
        self._claimed = False
        self._last_claim: float | None = None
        self._counts = {
            "completed": 0,
            "failed": 0,
            "retried": 0,
            "released": 0,
            "stale": 0,
            "sessions": 0,
            "interruptions": 0,
        }
        self._log = get_logger("seedcore.dispatch", dispatcher=name, queue=queue)

    def status(self) -> dict[str, Any]:
        """Progress, for health: what it holds, when it last claimed, what it has done."""
        last = None if self._last_claim is None else round(time.monotonic() - self._last_claim, 3)
        return {
            "name": self.name,
            "queue": self.queue,
            "session": None if self._session is None else str(self._session),
            "holding": len(self._ledger.held),
            "unwritten": self._ledger.pending,
            "last_claim_s": last,
            **self._counts,
            **self._writer.counts,
        }

    async def run(self) -> None:
        """Work until `stop`; a lost session or database is an interruption, never the end."""
        while not self._stop.is_set():
            try:
                await self._work()
            except* SessionLostError:
                self._log.warning("session lost, starting afresh", holding=len(self._ledger.held))
            except* Exception as bundle:  # noqa: BLE001 - a fault of ours must not end a dispatcher for good
                self._log.error("a loop broke, starting afresh", exc_info=bundle)
                await asyncio.sleep(1)
            await self._abandon()

    async def stop(self, grace_s: float) -> None:
        """Claim no more, let running tasks end for `grace_s` seconds, give the rest back. `run` may be cancelled then.

        Raises:
            UnavailableError: the database does not answer; the leases end with the heartbeat instead.
        """
        self._stop.set()
        self._wake.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                while self._jobs:
                    await asyncio.wait(self._jobs, return_when=asyncio.FIRST_COMPLETED)
        for held in list(self._ledger.held.values()):
            self._ledger.give_back(held.lease)
        await self._writer.flush()
        if self._session is not None:
            async with self._database.connection() as connection:
                await leases.close_session(connection, self._session)
        await self._abandon()

    # -- a session -----------------------------------------------------------------------------------------

    async def _work(self) -> None:
        """One session; ends with SessionLostError, or when `stop` has handed everything back."""
        session = uuid4()
        await self._until_done(lambda: self._open(session))
        self._session = session
        self._counts["sessions"] += 1
        async with asyncio.TaskGroup() as group:
            for step in (
                self._claim_step,
                self._flush_step,
                self._heartbeat_step,
                self._listen_step,
                self._promote_step,
            ):
                group.create_task(self._repeat(step))

    async def _open(self, session: UUID) -> None:
        async with self._database.connection() as connection:
            await leases.open_session(connection, session, self.name, self.queue, self.settings.lease_s, self._actor)

    async def _repeat(self, step: Callable[[], Awaitable[None]]) -> None:
        while not self._stop.is_set():
            await self._until_done(step)

    async def _until_done(self, step: Callable[[], Awaitable[None]]) -> None:
        """Do `step`; while the database is away, keep what is held and try again."""
        while not self._stop.is_set():
            try:
                await step()
            except DATABASE_ERRORS as error:
                self._counts["interruptions"] += 1
                self._log.warning("the database is away", reason=f"{type(error).__name__}: {error}")
                await asyncio.sleep(0.2 + random.random() * 0.3)  # noqa: S311 - jitter
            else:
                return

    async def _abandon(self) -> None:
        self._session = None
        jobs = list(self._jobs)
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
        self._ledger.clear()

    async def _claim_step(self) -> None:
        room = min(self.settings.claim_batch, self.settings.dispatcher_room - len(self._ledger.held))
        batch = await self._claim(room) if room > 0 else []
        if batch:
            self._spawn(self._handle(batch))
        else:
            await self._pause(self.settings.poll_s)

    async def _claim(self, most: int) -> list[Lease]:
        assert self._session is not None
        async with self._database.connection() as connection:
            batch = await leases.claim(connection, self.queue, self._session, most)
        self._last_claim = time.monotonic()
        self._claimed = self._claimed or bool(batch)
        self._ledger.take(batch)
        return batch

    async def _pause(self, seconds: float) -> None:
        """Sleep until something may be claimable, at most `seconds`."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), seconds)
        self._wake.clear()

    async def _flush_step(self) -> None:
        await self._ledger.changed.wait()
        await self._writer.flush()
        if len(self._ledger.held) < self.settings.dispatcher_room // 2:
            self._wake.set()

    async def _heartbeat_step(self) -> None:
        assert self._session is not None
        claimed, self._claimed = self._claimed, False
        holding = len(self._ledger.held)
        async with self._database.connection() as connection:
            alive = await leases.heartbeat(
                connection, self._session, self.settings.lease_s, holding=holding, claimed=claimed
            )
            if not alive:
                raise SessionLostError(self.name)
            await watch.announce(connection, self._ledger)
            owned = await leases.owned(connection, self._session)
        if gone := watch.gone(self._ledger, owned):
            await self._cancel(gone)
        if lost := watch.give_back_unknown(self._ledger, owned):
            self._log.warning("claims whose answer got lost, given back", tasks=lost)
        for held, limit_s in watch.overdue(self._ledger, self.settings.skill_timeout_s):
            self._again_or_fail(held, "host_silent", f"the host said nothing for {limit_s:g} s")
        await asyncio.sleep(min(1.0, self.settings.lease_s / 4))

    async def _listen_step(self) -> None:
        """NOTIFY only makes it faster: a lost one costs at most `poll_s`."""
        connection = await self._database.connect()
        closed = asyncio.Event()
        try:
            connection.add_termination_listener(lambda _connection: closed.set())
            await connection.add_listener(READY_CHANNEL, self._on_ready)
            await connection.add_listener(CANCEL_CHANNEL, self._on_cancel)
            await closed.wait()
        finally:
            await connection.close(timeout=2)

    async def _promote_step(self) -> None:
        """Deferred tasks become runnable on time, whichever dispatcher looks first."""
        async with self._database.connection() as connection:
            await reap.promote(connection)
            due = await reap.next_due(connection)
        await asyncio.sleep(self.settings.poll_s if due is None else min(max(due, 0.02), self.settings.poll_s))

    def _on_ready(self, _connection: Any, _pid: int, _channel: str, queue: str) -> None:
        if queue == self.queue:
            self._wake.set()

    def _on_cancel(self, _connection: Any, _pid: int, _channel: str, task_id: str) -> None:
        held = self._ledger.held.get(UUID(task_id))
        if held is not None:
            self._spawn(self._cancel([held]))

    # -- a batch -------------------------------------------------------------------------------------------

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        job = asyncio.create_task(self._logged(work))
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)

    async def _logged(self, work: Awaitable[None]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - a job must not die unseen; its leases are watched by the heartbeat
            self._log.error("a batch broke", exc_info=error)

    async def _handle(self, batch: list[Lease]) -> None:
        try:
            params = await self._bind(batch)
            decisions = await self._decide(batch)
        except (SeedCoreError, *DATABASE_ERRORS) as error:
            self._log.warning("nobody decides, giving back", tasks=len(batch), reason=str(error))
            await asyncio.sleep(PATIENCE_S)
            for lease in batch:
                self._ledger.give_back(lease)
            return
        by_host: dict[str, list[Call]] = {}
        put_off: list[Lease] = []
        for lease, decision in zip(batch, decisions, strict=True):
            if lease.id not in self._ledger.held:
                continue
            if decision.route == "fast" and decision.host and decision.agent:
                self._ledger.begin(lease.id, decision)
                call = self._call(lease, decision.agent, params.get(lease.id, lease.params))
                by_host.setdefault(decision.host, []).append(call)
            else:
                self._not_fast(lease, decision, put_off)
        for host, calls in by_host.items():
            self._spawn(self._run_on(host, calls))
        if put_off:
            await asyncio.sleep(PATIENCE_S)
            for lease in put_off:
                self._ledger.give_back(lease)

    async def _bind(self, batch: list[Lease]) -> dict[UUID, str]:
        if not any(lease.bindings for lease in batch):
            return {}
        async with self._database.connection() as connection:
            return await leases.bind(connection, batch)

    async def _decide(self, batch: list[Lease]) -> list[Decision]:
        feedback = self._ledger.take_feedback()
        try:
            return await self._brain.decide([features(lease) for lease in batch], feedback)
        except BaseException:
            self._ledger.return_feedback(feedback)
            raise

    def _not_fast(self, lease: Lease, decision: Decision, put_off: list[Lease]) -> None:
        if decision.route == "plan":
            self._spawn(self._plan(lease, decision))
        elif decision.route == "hold":
            self._spawn(self._hold(lease, decision))
        elif decision.route == "reject":
            self._fail(lease, "policy_rejected", decision.reason, decision)
        else:
            put_off.append(lease)

    def _call(self, lease: Lease, agent: str, params: str) -> Call:
        task_id, key = str(lease.id), lease.idempotency_key or str(lease.id)
        return Call(task_id, lease.token, lease.attempt, lease.type, params, agent, lease.timeout_s, key)

    async def _run_on(self, host: str, calls: Sequence[Call]) -> None:
        left = {call.task_id: call for call in calls}
        try:
            async for chunk in self._hosts.run(host, calls):
                for completion in chunk:
                    left.pop(completion.task_id, None)
                    self._completed(completion)
        except HostUnavailableError as error:
            self._log.warning("host does not answer, giving back", host=host, tasks=len(left), reason=str(error))
            await asyncio.sleep(PATIENCE_S)
            for task_id in left:
                if (held := self._ledger.held.get(UUID(task_id))) is not None:
                    self._ledger.give_back(held.lease)
        except HostLostError as error:
            self._log.warning("host lost", host=host, tasks=len(left), reason=str(error))
            for task_id in left:
                if (held := self._ledger.held.get(UUID(task_id))) is not None:
                    self._again_or_fail(held, "host_lost", f"the host {host} ended while the task ran")

    def _completed(self, completion: Completion) -> None:
        held = self._ledger.held.get(UUID(completion.task_id))
        if held is None or held.lease.token != completion.token:
            return
        self._ledger.learn(completion)
        if completion.ok:
            self._ledger.end(self._outcome(held, Status.COMPLETED, result=completion.result))
        else:
            self._again_or_fail(
                held, completion.error_code or "failed", completion.error_message or "", again=completion.retryable
            )

    def _outcome(self, held: Held, status: Status, **fields: Any) -> Outcome:
        lease, decision = held.lease, None if held.decision is None else json.dumps(held.decision.record())
        return Outcome(
            lease.id,
            lease.token,
            status,
            decision=decision,
            began=held.begun is not None and not held.announced,
            has_parent=lease.parent_id is not None,
            **fields,
        )

    def _again_or_fail(self, held: Held, code: str, message: str, *, again: bool = True) -> None:
        lease = held.lease
        if again and lease.attempt < lease.max_attempts:
            # Exponential backoff with full jitter.
            longest = min(self.settings.retry_max_s, self.settings.retry_base_s * 2 ** (lease.attempt - 1))
            delay = random.uniform(0, longest)  # noqa: S311 - jitter
            self._ledger.again(Retry(lease.id, lease.token, delay, code, message))
        else:
            self._ledger.end(self._outcome(held, Status.FAILED, error_code=code, error_message=message))

    def _fail(self, lease: Lease, code: str, message: str, decision: Decision) -> None:
        held = self._ledger.held[lease.id]
        held.decision = decision
        self._ledger.end(self._outcome(held, Status.FAILED, error_code=code, error_message=message))

    async def _hold(self, lease: Lease, decision: Decision) -> None:
        async with self._database.connection() as connection:
            await leases.hold(connection, [(lease.id, lease.token, json.dumps(decision.record()))])
        self._ledger.drop(lease.id)

    # -- plans: the slow lane, at most a few at once -------------------------------------------------------

    async def _plan(self, lease: Lease, decision: Decision) -> None:
        async with self._planning:
            held = self._ledger.held.get(lease.id)
            if held is None:
                return
            held.decision = decision
            try:
                plan, steps = await make_plan(self._brain, lease)
            except SeedCoreError as error:
                self._again_or_fail(held, error.code, error.detail, again=error.transient)
                return
            record = json.dumps(decision.record())
            async with self._database.connection() as connection:
                await leases.store_plan(connection, lease, record, json.dumps(plan), steps)
            self._ledger.drop(lease.id)

    async def _cancel(self, gone: Sequence[Held]) -> None:
        by_host: dict[str, list[str]] = {}
        for held in gone:
            self._ledger.drop(held.lease.id)
            if held.decision is not None and held.decision.host is not None:
                by_host.setdefault(held.decision.host, []).append(str(held.lease.id))
        for host, task_ids in by_host.items():
            await self._hosts.cancel(host, task_ids)
