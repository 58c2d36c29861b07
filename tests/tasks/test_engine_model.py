"""The engine, on a real PostgreSQL, held against a model of it: whatever is done to it in whatever order.

`SEEDCORE_SOAK=minutes` looks for that long instead of a moment.
"""

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from seedcore.errors import ConflictError
from seedcore.settings import load_settings
from seedcore.stores.postgres import ENGINE_SESSION
from seedcore.tasks import commands, leases, queries, reaping, sessions
from seedcore.tasks.claims import ageing, claim_cursor, claim_position
from seedcore.tasks.model import (
    LAST_EVENTS,
    Lease,
    Limit,
    Outcome,
    PlanTerms,
    Retry,
    Status,
    StepSpec,
    TaskSpec,
    Usage,
    new_id,
)
from seedcore.tasks.plans import repository as plan_repository
from seedcore.tasks.submission.submit import submit
from tests.conftest import _database, _execute
from tests.tasks.engine_model import Model, ModelTask

pytestmark = pytest.mark.integration

SOAK_S = 60 * float(os.environ.get("SEEDCORE_SOAK", "0"))
LIMITS = {"one": 1, "two": 2}
TABLES = (
    "tasks idempotency ready deferred gated limits admitted deadlines held leaders sessions leases finished dead events"
    " paused plans usage plan_ends recipes"
)
CLEAN = ";".join(f"delete from seedcore.{table}" for table in TABLES.split())
PLACES = """
select id, 'ready' as place, attempts, slow, null::bigint as token from seedcore.ready
union all select id, 'deferred', attempts, null, null from seedcore.deferred
union all select id, 'gated', attempts, slow, null from seedcore.gated
union all select id, 'held', attempts, null, null from seedcore.held
union all select id, 'leases', attempts, null, token from seedcore.leases
union all select id, 'finished', attempts, null, null from seedcore.finished
union all select id, 'dead', attempts, null, null from seedcore.dead
"""
ORDER = "select id from seedcore.{} where {} order by rank, seq"
ENDS = """
select id, array_agg(event order by tick) as ends from (
  select tick, event, unnest(task_ids) as id from seedcore.events where event in ('completed', 'failed', 'cancelled')) e
group by id
"""

picks = st.integers(0, 1_000_000)
few = st.integers(1, 4)
new_tasks = st.fixed_dictionaries(
    {
        "priority": st.sampled_from([0, 0, 5, -5]),
        "max_attempts": st.integers(1, 3),
        "slow": st.sampled_from([False, False, False, True]),
        "limit": st.sampled_from([None, None, None, "one", "two"]),
        "key": st.sampled_from([None, None, None, None, "a", "b"]),
        "later": st.sampled_from([False, False, False, False, True]),
        "deadline": st.sampled_from([False, False, True]),
    }
)


@dataclass(frozen=True)
class Action:
    """Something that may happen, when `needs` holds, with arguments drawn from `given`."""

    name: str
    weight: int
    needs: Callable[["Engine"], Any]
    given: dict[str, st.SearchStrategy[Any]]


ACTIONS: list[Action] = []


def action(weight: int = 1, needs: Callable[["Engine"], Any] = lambda _: True, **given: st.SearchStrategy[Any]) -> Any:
    """Say that a method of the machine may happen."""

    def known(method: Callable[..., None]) -> Callable[..., None]:
        ACTIONS.append(Action(method.__name__, weight, needs, given))
        return method

    return known


class Clock:
    """The time that scans see: it passes when the test says so."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Engine(RuleBasedStateMachine):
    """What can be done to the engine; after each step the database must say what the model says."""

    runner: asyncio.Runner
    connection: asyncpg.Connection
    clock: Clock
    settings = load_settings(retry_base_s=1000.0)
    steps = 0

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    def fetch(self, statement: str, *values: Any) -> list[asyncpg.Record]:
        return self.run(self.connection.fetch(statement, *values))

    def ids(self, table: str, where: str = "true", *values: Any) -> list[UUID]:
        return [row["id"] for row in self.fetch(ORDER.format(table, where), *values)]

    @property
    def waiting(self) -> list[UUID]:
        return self.ids("gated")

    @initialize(count=st.integers(1, 2), items=st.lists(new_tasks, min_size=2, max_size=6))
    def begin(self, count: int, items: list[dict[str, Any]]) -> None:
        self.run(self.connection.execute(CLEAN))
        self.model = Model(dict(LIMITS))
        self.leased: dict[UUID, Lease] = {}
        self.scans: dict[tuple[UUID, bool], claim_cursor.ClaimCursor] = {}
        self.paused = False
        for _ in range(count):
            self.a_dispatcher_starts()
        self.tasks_are_submitted(items)

    # One rule: Hypothesis switches some of many off for a whole example, and nearly all of these need a lease.
    @rule(data=st.data())
    def something_happens(self, data: st.DataObject) -> None:
        able = [a for a in ACTIONS if a.needs(self)]
        chosen = data.draw(st.sampled_from([a.name for a in able for _ in range(a.weight)]), label="what")
        (given,) = (a.given for a in able if a.name == chosen)
        getattr(self, chosen)(**{name: data.draw(values, label=name) for name, values in given.items()})

    def some(self, found: list[Any], pick: int, most: int = 1) -> list[Any]:
        start = pick % len(found)
        return (found[start:] + found[:start])[:most]

    def session(self, pick: int) -> UUID:
        return self.some(list(self.model.sessions), pick)[0]

    @action(weight=3, items=st.lists(new_tasks, min_size=1, max_size=4))
    def tasks_are_submitted(self, items: list[dict[str, Any]]) -> None:
        now = datetime.now(UTC)
        batch = []
        for item in items:
            value = item["key"] or "free"
            limit = Limit(item["limit"], LIMITS[item["limit"]]) if item["limit"] else None
            later = now + timedelta(hours=1) if item["later"] else None
            deadline = now + timedelta(hours=1) if item["deadline"] else None
            options = {name: item[name] for name in ("priority", "max_attempts", "slow")}
            options |= {"idempotency_key": item["key"], "idempotency_period_s": 3600.0 if item["key"] == "b" else None}
            params = json.dumps({"value": value})
            batch.append(TaskSpec("echo", params, limit=limit, run_after=later, deadline=deadline, **options))
        before = set(self.ids("ready"))
        answers = self.run(submit(self.connection, batch))
        for new, item, answer in zip(batch, items, answers, strict=True):
            known = self.model.keys.get(item["key"]) if item["key"] else None
            assert (answer.id, answer.created) == ((new.id, True) if known is None else (known, False))
            if known is not None:
                continue
            options = {name: item[name] for name in ("priority", "max_attempts", "slow", "limit", "deadline")}
            task = self.model.tasks[new.id] = ModelTask(new.id, **options)
            self.model.enter(task)
            if item["later"]:
                task.place = "deferred"
            if item["key"]:
                self.model.keys[item["key"]] = new.id
            if item["deadline"]:
                self.model.clocks.add(new.id)
        created = [n.id for n, a in zip(batch, answers, strict=True) if a.created]
        by_seq = [row["id"] for row in self.fetch("select id from seedcore.ready order by seq")]
        assert [i for i in by_seq if i not in before] == [i for i in created if i in by_seq]
        assert set(by_seq[: len(before)]) == before

    @action(pick=picks, needs=lambda self: self.model.keys)
    def a_key_comes_again_with_other_params(self, pick: int) -> None:
        (key,) = self.some(sorted(self.model.keys), pick)
        batch = [TaskSpec("echo", "{}"), TaskSpec("echo", '{"value": "other"}', idempotency_key=key)]
        with pytest.raises(ConflictError):
            self.run(submit(self.connection, batch))

    @action(needs=lambda self: "b" in self.model.keys)
    def a_keys_period_ends(self) -> None:
        self.fetch("update seedcore.idempotency set expires_at = now() where key = 'b'")
        del self.model.keys["b"]

    @action()
    def a_dispatcher_starts(self) -> None:
        if len(self.model.sessions) < 3:
            session = uuid4()
            self.run(sessions.open_session(self.connection, session, "d", "default", 3600))
            self.model.sessions[session] = True

    def expected(self, session: UUID, most: int, slow: bool) -> list[UUID]:
        closed = self.paused or not self.model.sessions[session]
        return [] if closed else self.ids("ready", "slow = $1", slow)[:most]

    def scan_of(self, session: UUID, slow: bool, scanning: bool) -> claim_cursor.ClaimCursor | None:
        return self.scans.setdefault((session, slow), claim_cursor.ClaimCursor()) if scanning else None

    def took(self, session: UUID, claimed: list[Lease], expected: list[UUID]) -> None:
        assert [lease.id for lease in claimed] == expected
        for lease in claimed:
            task = self.model.tasks[lease.id]
            self.model.lease(task, lease.token, session)
            assert (lease.attempt, lease.priority, lease.max_attempts) == (
                task.attempts,
                task.priority,
                task.max_attempts,
            )
            assert (lease.limit_key, lease.parent_id, lease.follow_up) == (task.limit, task.parent, task.follow_up)
            self.leased[lease.id] = lease

    @action(
        weight=8,
        pick=picks,
        most=few,
        scanning=st.booleans(),
        passed=st.sampled_from([0.0, 0.2, 2.0]),
        needs=lambda self: self.model.sessions and self.model.of("ready"),
    )
    def tasks_are_claimed(self, pick: int, most: int, scanning: bool, passed: float) -> None:
        self.clock.now += passed
        session = self.session(pick)
        slow = self.some(self.model.of("ready"), pick)[0].lane
        expected = self.expected(session, most, slow)
        place = self.scan_of(session, slow, scanning)
        claimed = self.run(leases.claim(self.connection, "default", session, most, slow=slow, cursor=place))
        self.took(session, claimed, expected)

    def outcome(self, task_id: UUID, token: int, failed: bool, spends: bool = False) -> Outcome:
        status = Status.FAILED if failed else Status.COMPLETED
        result, code = (None, "boom") if failed else ('{"value": 1}', None)
        follow_up = self.model.tasks[task_id].follow_up
        error = "it broke" if failed else None
        usage = Usage(1, 0.0) if spends else None
        return Outcome(task_id, token, status, result, code, error, follow_up=follow_up or spends, usage=usage)

    def acks(
        self, tasks: list[ModelTask], failed: bool, with_stale: bool, spends: bool = False
    ) -> tuple[list[Outcome], set[UUID]]:
        outcomes = [self.outcome(t.id, t.token, failed, spends) for t in tasks]
        named = {t.id for t in tasks}
        if with_stale:
            stale = dict(self.model.stale).items()
            outcomes += [self.outcome(*s, failed, spends) for s in stale if s[0] not in named]
        return outcomes, named

    @action(
        weight=2,
        pick=picks,
        most=few,
        failed=st.booleans(),
        with_stale=st.booleans(),
        spends=st.booleans(),
        needs=lambda self: self.model.of("leases"),
    )
    def tasks_end(self, pick: int, most: int, failed: bool, with_stale: bool, spends: bool) -> None:
        tasks = self.some(self.model.of("leases"), pick, most)
        outcomes, named = self.acks(tasks, failed, with_stale, spends)
        waiting = self.waiting
        assert self.run(leases.finish(self.connection, outcomes)) == named
        for task in tasks:
            self.model.end(task, "failed" if failed else "completed", "boom")
            if spends and task.parent is not None:
                self.model.tasks[task.parent].spent += 1
        self.model.settle([t for t in tasks if t.follow_up], waiting)

    @action(
        weight=2,
        pick=picks,
        most=few,
        failed=st.booleans(),
        with_stale=st.booleans(),
        slow=st.booleans(),
        needs=lambda self: self.model.sessions and any(not t.follow_up for t in self.model.of("leases")),
    )
    def tasks_end_and_others_are_claimed(
        self, pick: int, most: int, failed: bool, with_stale: bool, slow: bool
    ) -> None:
        session = self.session(pick)
        plain = [t for t in self.model.of("leases") if not t.follow_up]
        tasks = self.some(plain, pick, most)
        outcomes, named = self.acks(tasks, failed, with_stale)
        expected, place = self.expected(session, most, slow), self.scan_of(session, slow, True)
        accepted, claimed = self.run(
            leases.finish_and_claim(self.connection, outcomes, "default", session, most, slow=slow, cursor=place)
        )
        assert accepted == named
        for task in tasks:
            self.model.end(task, "failed" if failed else "completed", "boom")
        # Within one batch they come in the order of their claim; its tokens grow along.
        self.took(session, claimed, expected)

    @action(weight=2, pick=picks, most=few, needs=lambda self: self.model.of("leases"))
    def attempts_are_put_off(self, pick: int, most: int) -> None:
        tasks = self.some(self.model.of("leases"), pick, most)
        retries = [Retry(t.id, t.token, 1000.0, "boom", "it broke", t.limit) for t in tasks]
        waiting = self.waiting
        assert self.run(leases.retry(self.connection, retries)) == {t.id for t in tasks}
        for task in tasks:
            self.model.put_off(task, "boom")
        self.model.admit({t.limit for t in tasks if t.limit is not None}, waiting)

    @action(weight=2, pick=picks, most=few, slow=st.booleans(), needs=lambda self: self.model.of("leases"))
    def leases_are_given_back(self, pick: int, most: int, slow: bool) -> None:
        tasks = self.some(self.model.of("leases"), pick, most)
        pairs = [(t.id, t.token) for t in tasks]
        assert self.run(leases.release(self.connection, pairs, slow=slow)) == {t.id for t in tasks}
        for task in tasks:
            self.model.release(task, slow)

    @action(pick=picks, needs=lambda self: self.model.of("leases"))
    def a_task_shows_as_started_and_reports(self, pick: int) -> None:
        (task,) = self.some(self.model.of("leases"), pick)
        self.run(leases.started(self.connection, [(task.id, task.token)]))
        self.run(leases.progress(self.connection, [(task.id, task.token, '{"percent": 5}')]))

    @action(weight=2, pick=picks, needs=lambda self: self.model.stale)
    def a_lost_lease_is_used(self, pick: int) -> None:
        # Best one whose task has another lease now: there is something to steal.
        live = [s for s in self.model.stale if self.model.tasks[s[0]].place == "leases"]
        ((task_id, token),) = self.some(live or self.model.stale, pick)
        before = self.fetch("select count(*), max(tick) from seedcore.events")
        for failed in (False, True):
            assert self.run(leases.finish(self.connection, [self.outcome(task_id, token, failed)])) == set()
        assert self.run(leases.retry(self.connection, [Retry(task_id, token, 0, "x", "x")])) == set()
        assert self.run(leases.release(self.connection, [(task_id, token)], slow=True)) == set()
        assert self.run(leases.hold(self.connection, [(task_id, token, "{}")])) == set()
        self.run(leases.started(self.connection, [(task_id, token)]))
        self.run(leases.progress(self.connection, [(task_id, token, "{}")]))
        if task_id in self.leased:
            old = Lease(task_id, token, *(getattr(self.leased[task_id], n) for n in Lease.__slots__[2:]))
            steps = [StepSpec(new_id(), "s", "echo", "{}", None, ())]
            assert not self.run(plan_repository.store_plan(self.connection, old, "{}", "{}", steps))
        assert self.fetch("select count(*), max(tick) from seedcore.events") == before

    @action(weight=2, pick=picks, needs=lambda self: self.model.of("leases"))
    def a_task_waits_for_a_person(self, pick: int) -> None:
        (task,) = self.some(self.model.of("leases"), pick)
        parked = leases.hold(self.connection, [(task.id, task.token, '{"route": "hold"}')], expires_s=3600)
        assert self.run(parked) == {task.id}
        self.model.hold(task)

    @action(
        pick=picks,
        most=few,
        released=st.booleans(),
        needs=lambda self: any(t.held == "approval" for t in self.model.of("held")),
    )
    def nobody_decides_in_time(self, pick: int, most: int, released: bool) -> None:
        late = self.some([t for t in self.model.of("held") if t.held == "approval"], pick, most)
        policy = "release" if released else "reject"
        self.fetch(
            "update seedcore.held set expires_at = now() - interval '1 s', on_expiry = $2 where id = any($1::uuid[])",
            [t.id for t in late],
            policy,
        )
        waiting = self.waiting
        assert self.run(reaping.expire_approvals(self.connection)) == len(late)
        for task in late:
            if released:
                self.model.enter(task)
            else:
                self.model.end(task, "failed", "approval_expired")
        if not released:
            self.model.settle(late, waiting)

    @action(
        weight=5,
        pick=picks,
        yes=st.booleans(),
        needs=lambda self: any(t.held == "approval" for t in self.model.of("held")),
    )
    def a_person_decides(self, pick: int, yes: bool) -> None:
        (task,) = self.some([t for t in self.model.of("held") if t.held == "approval"], pick)
        waiting = self.waiting
        if yes:
            self.run(commands.approve(self.connection, task.id))
            self.model.enter(task)
        else:
            self.run(commands.reject(self.connection, task.id, "no"))
            self.model.end(task, "failed", "approval_rejected")
            self.model.settle([task], waiting)

    @action(pick=picks, needs=lambda self: self.model.tasks)
    def a_task_is_cancelled(self, pick: int) -> None:
        (task,) = self.some(list(self.model.tasks.values()), pick)
        waiting, was_over = self.waiting, task.over
        if was_over:
            with pytest.raises(ConflictError):
                self.run(commands.cancel(self.connection, task.id))
        else:
            assert self.run(commands.cancel(self.connection, task.id)).status == "cancelled"
            assert self.model.cancel(task, waiting)

    @action(weight=2, pick=picks, needs=lambda self: self.model.of("finished", "dead"))
    def a_person_runs_it_again(self, pick: int) -> None:
        (task,) = self.some(self.model.of("finished", "dead"), pick)
        if task.parent is not None or task.ended_as == "completed":
            with pytest.raises(ConflictError):
                self.run(commands.retry(self.connection, task.id))
        else:
            assert self.run(commands.retry(self.connection, task.id)).status == "queued"
            self.model.requeue(task)

    @action(yes=st.sampled_from([False, False, False, False, True]))
    def the_queue_is_paused_or_goes_on(self, yes: bool) -> None:
        self.paused = yes and not self.paused
        self.run((commands.pause if self.paused else commands.resume)(self.connection, "default"))

    def plannable(self) -> list[ModelTask]:
        return [t for t in self.model.of("leases") if t.parent is None and (not t.plans or t.replanning)]

    @action(
        weight=3,
        pick=picks,
        chain=st.lists(st.booleans(), min_size=1, max_size=4),
        policy=st.sampled_from(["fail", "skip", "replan"]),
        budget=st.sampled_from([0, 1, 100, 100]),
        with_terms=st.booleans(),
        needs=lambda self: self.plannable(),
    )
    def a_task_is_planned(self, pick: int, chain: list[bool], policy: str, budget: int, with_terms: bool) -> None:
        (task,) = self.some(self.plannable(), pick)
        made: list[ModelTask] = []
        for n, waits in enumerate(chain):
            needs = frozenset({made[-1].id} if made and waits else set())
            options = {"priority": task.priority, "max_attempts": task.max_attempts, "parent": task.id}
            made.append(ModelTask(new_id(), step=f"p{task.plans}.s{n}", needs=needs, **options))
        steps = [StepSpec(s.id, s.step or "", "echo", "{}", None, tuple(s.needs)) for s in made]
        plan = json.dumps({"output": {"v": {"$from": made[0].step, "field": "value"}}})
        terms = None
        if with_terms or task.replanning or policy != "fail":
            terms = PlanTerms({"*": policy}, {"tokens": budget, "money": 1.0})
        record = '{"route": "plan"}'
        assert self.run(plan_repository.store_plan(self.connection, self.leased[task.id], record, plan, steps, terms))
        if not task.replanning:
            task.spent = 0
        self.model.plan(task, made, policy, None if terms is None else budget)

    @action(weight=2, pick=picks, needs=lambda self: self.model.sessions)
    def a_heart_beats(self, pick: int) -> None:
        session = self.session(pick)
        pulse = self.run(sessions.heartbeat(self.connection, session, 3600, holding=1, claimed=True, owned=True))
        assert pulse.alive
        assert pulse.owned is not None
        assert set(pulse.owned) == {(t.id, t.token) for t in self.model.of("leases") if t.owner == session}
        self.model.sessions[session] = True

    @action(pick=picks, needs=lambda self: self.model.sessions)
    def a_lease_time_passes(self, pick: int) -> None:
        session = self.session(pick)
        self.fetch("update seedcore.sessions set expires_at = now() - interval '1 s' where id = $1", session)
        self.model.sessions[session] = False

    @action(pick=picks, needs=lambda self: self.model.sessions)
    def a_dispatcher_leaves(self, pick: int) -> None:
        session = self.session(pick)
        self.run(sessions.close_session(self.connection, session))
        del self.model.sessions[session]

    @action(
        weight=3,
        pick=picks,
        most=st.integers(0, 3),
        late=st.integers(0, 2),
        needs=lambda self: self.model.of("deferred") or self.model.clocks,
    )
    def time_passes(self, pick: int, most: int, late: int) -> None:
        deferred, clocks = [t.id for t in self.model.of("deferred")], sorted(self.model.clocks)
        due = self.some(deferred, pick, most) if deferred else []
        over = self.some(clocks, pick, late) if clocks else []
        self.fetch("update seedcore.deferred set run_at = now() - interval '1 s' where id = any($1::uuid[])", due)
        self.fetch("update seedcore.deadlines set at = now() - interval '1 s' where id = any($1::uuid[])", over)
        waiting = self.waiting
        closed = self.run(reaping.close_late(self.connection))
        before = len([t for t in self.model.tasks.values() if t.over])
        self.model.close_late(over, waiting)
        assert closed <= len([t for t in self.model.tasks.values() if t.over]) - before
        still = [i for i in due if self.model.tasks[i].place == "deferred"]
        assert self.run(reaping.promote(self.connection)) == len(still)
        self.model.promote(still)

    @action(weight=3)
    def the_reaper_goes_round(self) -> None:
        waiting = self.waiting
        lost = [t for t in self.model.of("leases") if not self.model.sessions.get(t.owner)]
        done = self.run(reaping.reap(self.connection, self.settings))
        assert done.returned + done.dead == len(lost)
        assert (done.late, done.promoted) == (0, 0)
        self.model.reap_lost(waiting)
        self.model.admit(LIMITS, waiting)

    @invariant()
    def every_task_is_where_the_model_has_it(self) -> None:
        rows = self.fetch(PLACES)
        found = {row["id"]: row for row in rows}
        assert len(found) == len(rows), "a task is in two places"
        assert {i: row["place"] for i, row in found.items()} == {t.id: t.place for t in self.model.tasks.values()}
        for task in self.model.tasks.values():
            row = found[task.id]
            assert row["attempts"] == task.attempts
            assert row["token"] in (None, task.token)
            assert row["slow"] in (None, task.lane)
        running = Counter(self.model.tasks[i].limit for i, row in found.items() if row["place"] == "leases")
        assert all(running[key] <= most for key, most in LIMITS.items())
        stated = self.fetch("select id, status, attempts, errors from seedcore.task_state")
        assert {(r["id"], r["status"], r["attempts"]) for r in stated} == {
            (t.id, t.status, t.attempts) for t in self.model.tasks.values()
        }
        for row in stated:
            if row["errors"] is not None:
                told = [(e["attempt"], e["code"]) for e in json.loads(row["errors"])]
                assert told == self.model.tasks[row["id"]].errors

    def teardown(self) -> None:
        if hasattr(self, "model"):
            self.events_tell_it_in_order_and_every_end_once()

    @invariant()
    def events_are_right_all_along(self) -> None:
        # It is the dearest look, and nothing of history is ever taken back: not after every step.
        self.steps += 1
        if self.steps % 5 == 0:
            self.events_tell_it_in_order_and_every_end_once()

    def events_tell_it_in_order_and_every_end_once(self) -> None:
        ends = {row["id"]: row["ends"] for row in self.fetch(ENDS)}
        assert ends == {t.id: t.ends for t in self.model.tasks.values() if t.ends}
        told: dict[UUID, list[Any]] = {}
        for event in self.run(queries.events_of_many(self.connection, [(i, 0) for i in self.model.tasks])):
            told.setdefault(event.task_id, []).append(event)
        for task in self.model.tasks.values():
            mine = told[task.id]
            assert mine[0].event == "submitted"
            assert [e.id for e in mine] == sorted({e.id for e in mine})
            last = [e.event for e in mine if e.event in LAST_EVENTS]
            assert last == ([task.ended_as] if task.over else [])
            assert not task.over or mine[-1].event == task.ended_as


@pytest.fixture
def engine(postgres_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Engine]]:
    """The machine, bound to a database and a loop of its own."""
    name = f"t{uuid4().hex[:12]}"
    clock = Clock()
    for module in (ageing, claim_cursor, claim_position):
        monkeypatch.setattr(module, "time", clock)
    with asyncio.Runner() as runner:
        runner.run(_execute(postgres_server, f"create database {name} template template_seedcore"))
        session = {**ENGINE_SESSION, "synchronous_commit": "off"}
        dsn = _database(postgres_server, name)
        connection = runner.run(asyncpg.connect(dsn, server_settings=session))
        yield type("BoundEngine", (Engine,), {"runner": runner, "connection": connection, "clock": clock})
        runner.run(connection.close())
        runner.run(_execute(postgres_server, f"drop database {name} with (force)"))


def profile(**given: Any) -> settings:
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    return settings(deadline=None, suppress_health_check=slow, stateful_step_count=40, **given)


def test_whatever_is_done_the_engine_agrees_with_the_model(engine: type[Engine]) -> None:
    run_state_machine_as_test(engine, settings=profile(max_examples=40, phases=[Phase.generate], database=None))


@pytest.mark.timeout(SOAK_S + 600)
@pytest.mark.skipif(not SOAK_S, reason="SEEDCORE_SOAK says for how many minutes")
def test_the_engine_agrees_with_the_model_for_long(engine: type[Engine]) -> None:
    until = time.monotonic() + SOAK_S
    while time.monotonic() < until:
        phases = (Phase.generate, Phase.shrink)
        run_state_machine_as_test(engine, settings=profile(max_examples=200, database=None, phases=phases))
