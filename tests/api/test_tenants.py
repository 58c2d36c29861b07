"""What belongs to one tenant does not exist for another, whatever way it asks."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from seedcore.api.app import build_app
from seedcore.settings import Settings
from seedcore.skills.registry import SkillRegistry
from seedcore.skills.signatures import signatures
from seedcore.stores.postgres import ENGINE_SESSION, Database
from seedcore.tasks import queries
from seedcore.tasks.events.event_log import START, entries_of, read_log
from seedcore.tasks.sql import reads
from seedcore.tasks.submission.published_settings import publish
from tests.api.conftest import TASKS, Dispatcher, refused, submit
from tests.api.tenants import CALLERS, client_of, install

pytestmark = pytest.mark.integration

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SCHEDULES, LIMITS, DEAD = "/api/v1/schedules", "/api/v1/limits", "/api/v1/dead"


class Parties:
    """A client for each caller."""

    acme: httpx.AsyncClient
    blind: httpx.AsyncClient
    umbra: httpx.AsyncClient
    default: httpx.AsyncClient
    platform: httpx.AsyncClient
    watcher: httpx.AsyncClient


@pytest.fixture
async def app(pg_settings: Settings) -> AsyncIterator[FastAPI]:
    app = build_app(pg_settings)
    install(app)
    yield app
    await app.state.gateway.aclose()


@pytest.fixture
async def parties(app: FastAPI) -> AsyncIterator[Parties]:
    found = Parties()
    async with AsyncExitStack() as stack:
        for name in CALLERS:
            setattr(found, name, await stack.enter_async_context(client_of(app, name)))
        yield found


async def listed(http: httpx.AsyncClient, path: str = TASKS, **query: Any) -> list[str]:
    answer = await http.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.json()["items"]]


async def failed_task(http: httpx.AsyncClient, dispatcher: Dispatcher, value: Any = 1) -> dict[str, Any]:
    task = await submit(http, value)
    lease = await dispatcher.lease()
    assert str(lease.id) == task["id"]
    await dispatcher.fail(lease)
    return task


ACTIONS = [("GET", ""), ("GET", "/plan"), ("GET", "/events")]
ACTIONS += [("POST", f"/{name}") for name in ("cancel", "retry", "approve", "reject")]


@pytest.mark.parametrize(("method", "action"), ACTIONS)
async def test_a_task_of_another_tenant_is_none(parties: Parties, method: str, action: str):
    for owner in (parties.acme, parties.default):
        task = await submit(owner)
        answer = await parties.umbra.request(method, f"{TASKS}/{task['id']}{action}")
        theirs = refused(answer, 404, "not_found")
        unknown = await parties.umbra.request(method, f"{TASKS}/{(other := uuid4())}{action}")
        assert theirs["detail"].replace(task["id"], str(other)) == refused(unknown, 404, "not_found")["detail"]
        assert (await owner.get(f"{TASKS}/{task['id']}")).json()["status"] == "queued"


async def test_lists_and_filters_hold_a_tenants_own(parties: Parties):
    mine = await submit(parties.acme, queue="q", domain="d")
    theirs = await submit(parties.umbra, queue="q", domain="d")
    plain = await submit(parties.platform, queue="q", domain="d")
    for query in ({}, {"queue": "q"}, {"domain": "d"}, {"type": "echo"}, {"status": "queued"}):
        assert await listed(parties.acme, **query) == [mine["id"]]
        assert await listed(parties.umbra, **query) == [theirs["id"]]
        assert await listed(parties.default, **query) == [plain["id"]]
        assert await listed(parties.platform, **query) == [plain["id"], theirs["id"], mine["id"]]
    assert await listed(parties.platform, tenant="umbra") == [theirs["id"]]
    assert await listed(parties.platform, tenant="default") == [plain["id"]]
    for path in (TASKS, DEAD):
        refused(await parties.acme.get(path, params={"tenant": "umbra"}), 403, "forbidden")


async def test_a_plan_and_its_steps_are_its_tenants(parties: Parties, dispatcher: Dispatcher):
    answer = await parties.acme.post(
        TASKS,
        json={"type": "goal", "params": {"goal": "value", "inputs": {"value": 1}}},
        headers={"traceparent": TRACE},
    )
    goal = answer.json()
    steps = [str(step) for step in await dispatcher.plan(await dispatcher.lease())]
    own = (await parties.acme.get(f"{TASKS}/{goal['id']}/plan")).json()["steps"]
    assert [step["id"] for step in own] == steps
    assert {(step["tenant"], step["trace_id"]) for step in own} == {("acme", TRACE[3:35])}
    assert await listed(parties.umbra, parent_id=goal["id"]) == []
    for step in steps:
        refused(await parties.umbra.get(f"{TASKS}/{step}"), 404, "not_found")
    first = await dispatcher.lease()
    await dispatcher.complete(first, {"value": 1})
    second = await dispatcher.lease()
    assert (str(second.id), second.tenant) == (steps[1], "acme")


async def test_the_feed_tells_a_tenant_of_its_own_tasks(parties: Parties, pg_settings: Settings):
    mine, _ = await submit(parties.acme), await submit(parties.umbra)
    await parties.platform.post(f"{TASKS}/{mine['id']}/cancel")
    database = Database(pg_settings, session=ENGINE_SESSION)
    async with database.connection() as connection:
        entries, position = await read_log(connection, START, 100)
        assert len(entries) == 3
        own = await entries_of(connection, entries, "acme")
        assert [(e.event, [str(i) for i in e.task_ids]) for e in own] == [
            ("submitted", [mine["id"]]),
            ("cancelled", [mine["id"]]),
        ]
        assert own[0].data == {"by": "acme-key"}
        # It goes on behind what it was not shown.
        last = await submit(parties.acme, 2)
        more, _ = await read_log(connection, own[-1].position, 100)
        found = [str(i) for e in await entries_of(connection, more, "acme") for i in e.task_ids]
        assert found == [last["id"]]
        assert str(position)
    await database.aclose()


async def test_a_mixed_batch_shows_in_the_feed_without_the_ids_of_others(
    parties: Parties, dispatcher: Dispatcher, pg_settings: Settings
):
    mine, theirs = await submit(parties.acme), await submit(parties.umbra)
    database = Database(pg_settings)
    async with database.connection() as connection:
        ids = await connection.fetchval("select array_agg(id) from seedcore.tasks")
        await connection.execute("insert into seedcore.events (event, task_ids) values ('completed', $1)", ids)
        entries, _ = await read_log(connection, START, 100)
        for tenant, task in (("acme", mine), ("umbra", theirs)):
            shown = await entries_of(connection, entries[-1:], tenant)
            assert [[str(i) for i in e.task_ids] for e in shown] == [[task["id"]]]
        assert await entries_of(connection, entries, "nobody") == []
    await database.aclose()


async def test_dead_letters_are_seen_counted_and_run_again_by_their_tenant(parties: Parties, dispatcher: Dispatcher):
    mine = await failed_task(parties.acme, dispatcher)
    theirs = await failed_task(parties.umbra, dispatcher)
    plain = await failed_task(parties.default, dispatcher)
    for party, task in ((parties.acme, mine), (parties.umbra, theirs), (parties.default, plain)):
        assert await listed(party, DEAD) == [task["id"]]
        counts = (await party.get(f"{DEAD}/counts")).json()["items"]
        assert [(row["type"], row["tasks"]) for row in counts] == [("echo", 1)]
    assert len(await listed(parties.platform, DEAD)) == 3
    assert await listed(parties.platform, DEAD, tenant="acme") == [mine["id"]]
    for body in ({"ids": [theirs["id"], plain["id"]]}, {"type": "ech"}):
        assert (await parties.acme.post(f"{DEAD}/requeue", json=body)).json() == {"ids": []}
    again = await parties.acme.post(f"{DEAD}/requeue", json={"type": "echo"})
    assert again.json() == {"ids": [mine["id"]]}
    lease = await dispatcher.lease()
    assert (str(lease.id), lease.tenant) == (mine["id"], "acme")
    assert await listed(parties.umbra, DEAD) == [theirs["id"]]


async def test_schedules_of_one_id_are_each_tenants_own(parties: Parties, dispatcher: Dispatcher):
    def body(value: int) -> dict[str, Any]:
        return {"task": {"type": "echo", "params": {"value": value}}, "every_s": 3600}

    for value, party in enumerate((parties.acme, parties.umbra, parties.platform)):
        made = await party.post(SCHEDULES, json={"id": "nightly", **body(value)})
        assert made.status_code == 201, made.text
        assert made.json()["id"] == "nightly"
    assert (await parties.acme.get(f"{SCHEDULES}/nightly")).json()["task"]["params"] == {"value": 0}
    assert await listed(parties.acme, SCHEDULES) == ["nightly"]
    fired = await parties.umbra.post(f"{SCHEDULES}/nightly/fire")
    assert (fired.status_code, fired.json()["tenant"], fired.json()["params"]) == (201, "umbra", {"value": 1})
    refused(await parties.acme.get(f"{TASKS}/{fired.json()['id']}"), 404, "not_found")
    assert (await parties.acme.delete(f"{SCHEDULES}/nightly")).status_code == 204
    refused(await parties.acme.get(f"{SCHEDULES}/nightly"), 404, "not_found")
    for action in ("pause", "resume", "fire"):
        refused(await parties.acme.post(f"{SCHEDULES}/nightly/{action}"), 404, "not_found")
    assert (await parties.umbra.get(f"{SCHEDULES}/nightly")).json()["fired"] == 1
    there = await parties.platform.get(f"{SCHEDULES}/nightly", headers={"X-SeedCore-Tenant": "umbra"})
    assert there.json()["task"]["params"] == {"value": 1}


async def test_limits_of_one_key_are_each_tenants_own(parties: Parties):
    for running, party in enumerate((parties.acme, parties.umbra, parties.platform), 1):
        put = await party.put(f"{LIMITS}/db", json={"max_running": running})
        assert (put.json()["key"], put.json()["max_running"]) == ("db", running)
    for running, party in enumerate((parties.acme, parties.umbra, parties.platform), 1):
        items = (await party.get(LIMITS)).json()["items"]
        assert [(item["key"], item["max_running"]) for item in items] == [("db", running)]
    task = await submit(parties.acme, limit={"key": "db"})
    assert task["limit_key"] == "db"
    assert (await parties.acme.get(f"{TASKS}/{task['id']}")).json()["limit_key"] == "db"
    assert (await parties.acme.get(f"{LIMITS}/db")).json()["waiting"] == 1
    assert (await parties.umbra.get(f"{LIMITS}/db")).json()["waiting"] == 0
    assert (await parties.umbra.delete(f"{LIMITS}/db")).status_code == 204
    refused(await parties.umbra.get(f"{LIMITS}/db"), 404, "not_found")
    refused(await parties.platform.put(f"{LIMITS}/umbra%1fdb", json={}), 422, "invalid_input")


async def test_an_idempotency_key_of_another_tenant_is_free(parties: Parties):
    first = await submit(parties.acme, "secret", idempotency_key="k")
    second = await submit(parties.umbra, "other", idempotency_key="k")
    third = await submit(parties.platform, "third", idempotency_key="k")
    assert len({first["id"], second["id"], third["id"]}) == 3
    batch = {"tasks": [{"type": "echo", "params": {"value": n}, "idempotency_key": f"b{n}"} for n in range(120)]}
    ids = [(await party.post(f"{TASKS}/batch", json=batch)).json()["ids"] for party in (parties.acme, parties.umbra)]
    assert not set(ids[0]) & set(ids[1])
    again = [(await party.post(f"{TASKS}/batch", json=batch)).json()["ids"] for party in (parties.acme, parties.umbra)]
    assert again == ids
    repeated = await parties.acme.post(
        TASKS, json={"type": "echo", "params": {"value": "secret"}, "idempotency_key": "k"}
    )
    assert (repeated.status_code, repeated.json()["id"]) == (200, first["id"])


async def test_only_a_platform_caller_names_a_tenant(parties: Parties):
    named = {"X-SeedCore-Tenant": "umbra"}
    body = {"type": "echo", "params": {"value": 1}}
    assert (await parties.platform.post(TASKS, json=body, headers=named)).json()["tenant"] == "umbra"
    for path, sent in ((TASKS, body), (f"{TASKS}/batch", {"tasks": [body]})):
        refused(await parties.acme.post(path, json=sent, headers=named), 403, "forbidden")
    for path in (SCHEDULES, LIMITS):
        refused(await parties.acme.get(path, headers=named), 403, "forbidden")
    twice = [("X-SeedCore-Tenant", "acme"), ("X-SeedCore-Tenant", "umbra")]
    refused(await parties.acme.post(TASKS, json=body, headers=twice), 422, "invalid_input")
    for wrong in ("", "A", "umbra@q", "a b", "-", "a" * 41, "1a"):
        answer = await parties.platform.post(TASKS, json=body, headers={"X-SeedCore-Tenant": wrong})
        refused(answer, 422, "invalid_input")
    assert await listed(parties.acme) == []


async def test_the_queue_shows_a_tenant_its_own(parties: Parties, dispatcher: Dispatcher):
    for value in range(3):
        await submit(parties.acme, value)
    await submit(parties.umbra, priority=5)
    await submit(parties.umbra, queue="other", run_after="2090-01-01T00:00:00Z")
    await parties.platform.post("/api/v1/queue/other/pause")
    seen = (await parties.acme.get("/api/v1/queue")).json()
    assert {name: depth["ready"] for name, depth in seen["queues"].items()} == {"default": 3}
    assert seen["paused"] == []
    assert [set(row) for row in seen["dispatchers"]] == [{"queue", "last_claim_s"}]
    theirs = (await parties.umbra.get("/api/v1/queue")).json()
    depths = {name: (depth["ready"], depth["deferred"]) for name, depth in theirs["queues"].items()}
    assert (depths, theirs["paused"]) == ({"default": (1, 0), "other": (0, 1)}, ["other"])
    lease = await dispatcher.lease()
    assert lease.tenant == "umbra"
    await dispatcher.fail(lease)
    assert [(await party.get("/api/v1/queue")).json()["dead"] for party in (parties.umbra, parties.acme)] == [1, 0]
    assert (await parties.platform.get("/api/v1/queue")).json()["dispatchers"][0]["name"] == "player"


async def test_a_trace_comes_from_the_caller_or_is_the_tasks_id(parties: Parties):
    body = {"type": "echo", "params": {"value": 1}}
    plain = (await parties.acme.post(TASKS, json=body)).json()
    assert plain["trace_id"] == plain["id"].replace("-", "")
    traced = (await parties.acme.post(TASKS, json=body, headers={"traceparent": TRACE})).json()
    assert traced["trace_id"] == TRACE[3:35]
    assert (await parties.acme.get(f"{TASKS}/{traced['id']}")).json()["trace_id"] == TRACE[3:35]
    for wrong in ("", "00-" + "0" * 32 + TRACE[35:], TRACE.upper(), TRACE + "-x", "ff" + TRACE[2:], TRACE[:-1]):
        answer = await parties.acme.post(TASKS, json=body, headers={"traceparent": wrong})
        assert answer.json()["trace_id"] == answer.json()["id"].replace("-", "")
    twice = await parties.acme.post(TASKS, json=body, headers=[("traceparent", TRACE), ("traceparent", TRACE)])
    assert twice.json()["trace_id"] == twice.json()["id"].replace("-", "")


async def test_who_submitted_stands_in_the_first_event(parties: Parties, pg_settings: Settings):
    ids = [(await submit(parties.acme))["id"], (await submit(parties.platform))["id"]]
    database = Database(pg_settings)
    async with database.connection() as connection:
        found = [(await queries.events_of(connection, task_id))[0].data for task_id in ids]
    await database.aclose()
    assert found == [{"by": "acme-key"}, {"by": "root"}]


async def test_who_may_not_see_payloads_sees_none(parties: Parties, dispatcher: Dispatcher):
    secret = "a-secret-value"
    dead = await submit(parties.acme, secret)
    lease = await dispatcher.lease()
    await dispatcher.put_off(lease, 0)
    async with dispatcher.database.connection() as connection:
        await connection.execute(
            "with gone as (delete from seedcore.deferred returning id, attempts) insert into seedcore.ready"
            " (id, queue, rank, attempts, tenant) select id, 'default', 0, attempts, 'acme' from gone"
        )
    await dispatcher.fail(await dispatcher.lease())
    done = await submit(parties.acme, secret)
    await dispatcher.complete(await dispatcher.lease(), {"value": secret})
    await parties.acme.put(
        f"{SCHEDULES}/s", json={"task": {"type": "echo", "params": {"value": secret}}, "every_s": 3600}
    )
    for party in (parties.blind, parties.watcher):
        for task in (dead, done):
            shown = (await party.get(f"{TASKS}/{task['id']}")).json()
            assert (shown["payloads_hidden"], shown["params"], shown["result"]) == (True, None, None)
        assert shown["decision"] == {
            "route": "fast",
            "rule": "known_skill",
            "reason": None,
            "agent": "a-1",
            "delta_energy": 0.5,
            "evidence": None,
        }
        texts = [
            (await party.get(path)).text
            for path in (TASKS, DEAD, f"{TASKS}/{dead['id']}", f"{TASKS}/{dead['id']}/events", SCHEDULES)
        ]
        assert not [text for text in texts if secret in text or "it broke" in text or "too slow" in text]
        failed = (await party.get(f"{TASKS}/{dead['id']}")).json()
        assert failed["error"] == {"code": "skill_failed", "message": None}
        assert [(error["code"], error["message"]) for error in failed["errors"]] == [
            ("skill_timeout", None),
            ("skill_failed", None),
        ]
    named = {"X-SeedCore-Tenant": "acme"}
    for party, headers in ((parties.blind, {}), (parties.watcher, named)):
        schedule = (await party.get(f"{SCHEDULES}/s", headers=headers)).json()
        assert (schedule["task"]["params"], schedule["payloads_hidden"]) == (None, True)
    assert (await parties.blind.post(TASKS, json={"type": "echo", "params": {"value": secret}})).json()[
        "params"
    ] is None
    assert (await parties.acme.get(f"{TASKS}/{dead['id']}")).json()["error"]["message"] == "it broke"


OF_THE_PLATFORM = [
    ("ml.train", {"name": "m", "columns": ["x", "y"], "rows": [[n, n % 2] for n in range(10)], "label_column": "y"}),
    ("ml.learn-salience", {}),
]


async def test_a_tenant_submits_no_task_that_changes_what_all_use(parties: Parties, pg_settings: Settings):
    for type_, params in OF_THE_PLATFORM:
        task = {"type": type_, "params": params}
        for caller in (parties.acme, parties.default):
            refused(await caller.post(TASKS, json=task), 403, "platform_only")
            refused(await caller.post(f"{TASKS}/batch", json={"tasks": [task]}), 403, "platform_only")
            schedule = {"id": "s", "task": task, "every_s": 60}
            refused(await caller.post(SCHEDULES, json=schedule), 403, "platform_only")
        assert (await parties.platform.post(TASKS, json=task)).status_code == 201
    goal = {"type": "goal", "params": {"goal": "ml.train", "inputs": OF_THE_PLATFORM[0][1]}}
    assert "ml.train" not in signatures(SkillRegistry.load(pg_settings).values())
    assert (await parties.acme.post(TASKS, json=goal)).status_code == 201  # and no plan is found for it


async def test_a_role_of_one_tenant_submits_no_task_of_the_platform(pg_settings: Settings):
    dsn = pg_settings.pg_dsn.get_secret_value()
    owner = await asyncpg.connect(dsn)
    await publish(owner, pg_settings, SkillRegistry.load(pg_settings))
    bound, free = await _role(owner, dsn, "acme"), await _role(owner, dsn, None)
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="all tenants"):
        await bound.fetchval("select seedcore.enqueue('ml.train', '{}')")
    assert await free.fetchval("select seedcore.enqueue('ml.train', '{}')") is not None
    for connection in (bound, free, owner):
        await connection.close()


async def _role(connection: asyncpg.Connection, dsn: str, tenant: str | None) -> asyncpg.Connection:
    """A connection of a new role that may do no more than submit."""
    role = f"r{uuid4().hex[:12]}"
    await connection.execute(f"create role {role} login password 'x'")
    await connection.execute(f"grant usage on schema seedcore to {role}")
    await connection.execute(f"grant execute on function seedcore.enqueue(text, jsonb, jsonb) to {role}")
    if tenant is not None:
        await connection.execute("insert into seedcore.sql_roles (role, tenant) values ($1, $2)", role, tenant)
    return await asyncpg.connect(dsn, user=role, password="x")


async def test_a_role_submits_for_its_tenant_alone_and_reads_nothing(pg_settings: Settings):
    dsn = pg_settings.pg_dsn.get_secret_value()
    owner = await asyncpg.connect(dsn)
    bound, free = await _role(owner, dsn, "acme"), await _role(owner, dsn, None)
    enqueue = "select seedcore.enqueue('echo', '{\"value\": 1}', $1::text::jsonb)"
    limits = [{"key": "a", "cost": 2}, {"key": "b"}]
    options: list[dict[str, Any]] = [{}, {"tenant": "acme"}, {"idempotency_key": "k"}, {"limits": limits}]
    for given in options:
        made = await bound.fetchval(enqueue, json.dumps(given))
        record = await queries.get(owner, made)
        assert record.tenant == "acme"
    assert (record.limit_key, record.limits) == ("a", ({"key": "a", "cost": 2}, {"key": "b", "cost": 1}))
    for other in ("umbra", "default"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="acme alone"):
            await bound.fetchval(enqueue, json.dumps({"tenant": other}))
    made = await free.fetchval(enqueue, json.dumps({"tenant": "umbra", "traceparent": TRACE, "idempotency_key": "k"}))
    record = await queries.get(owner, made)
    assert (record.tenant, record.traceparent) == ("umbra", TRACE)
    forbidden = [
        "select * from seedcore.tasks",
        "select * from seedcore.task_state",
        "select * from seedcore.sql_roles",
        "select * from seedcore.idempotency",
        "delete from seedcore.sql_roles",
        "update seedcore.tasks set tenant = 'acme'",
        "insert into seedcore.ready (id, queue, rank) values (gen_random_uuid(), 'default', 0)",
        "select seedcore.admit('{a}')",
        "select seedcore.set_limit('umbra' || chr(31) || 'a', 1, null, null)",
        "create function seedcore.refuse(what text) returns void language sql as 'select'",
    ]
    for statement in forbidden:
        for role in (bound, free):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await role.execute(statement)
    # A table of its own cannot stand in for SeedCore's.
    await bound.execute("create temporary table sql_roles (role text, tenant text)")
    await bound.execute("set search_path = pg_temp, seedcore")
    assert (await queries.get(owner, await bound.fetchval(enqueue, "{}"))).tenant == "acme"
    nobody = f"r{uuid4().hex[:12]}"
    await owner.execute(f"create role {nobody} login password 'x'")
    await owner.execute(f"grant usage on schema seedcore to {nobody}")
    third = await asyncpg.connect(dsn, user=nobody, password="x")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await third.fetchval(enqueue, "{}")
    for connection in (bound, free, third, owner):
        await connection.close()


async def test_a_tenant_reads_its_tasks_without_a_look_at_others(pg_settings: Settings):
    """A history of others, and a tenant with a few of the oldest tasks."""
    connection = await asyncpg.connect(pg_settings.pg_dsn.get_secret_value())
    fill = """
    insert into seedcore.tasks (id, type, params, max_attempts, tenant)
    select seedcore.new_id(), 'echo', '{}', 5, $2 from generate_series(1, $1::int)"""
    for count, tenant in ((5, "acme"), (20_000, "umbra"), (20_000, "default")):
        await connection.execute(fill, count, tenant)
    await connection.execute(
        "insert into seedcore.finished (id, tick, status, attempts)"
        " select id, nextval('seedcore.ticks'), 'completed', 1 from seedcore.tasks"
    )
    for analysed in (False, True):
        if analysed:
            await connection.execute("analyze")
        for statement in _finds("acme"):
            plan = await connection.fetchval(f"explain (analyze, format json) {statement}")
            assert _rows_read(json.loads(plan)[0]["Plan"]) < 200, plan
    assert len(await queries.find(connection, tenant="acme")) == 5
    await connection.close()


def _finds(tenant: str) -> list[str]:
    clauses = f"where tenant = '{tenant}' and {reads.OF_OTHERS}"
    plain = reads.find(clauses, 1).replace("$1", "51")
    return [plain, reads.find(f"{clauses} and queue = 'default'", 1).replace("$1", "51")]


def _rows_read(node: dict[str, Any]) -> int:
    """Rows that scans looked at, those that a filter took away among them."""
    own = 0
    if "Scan" in node["Node Type"]:
        own = (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
    return int(own) + sum(_rows_read(part) for part in node.get("Plans", ()))


async def test_a_stream_of_everything_ends_with_its_client(parties: Parties, app: FastAPI):
    """The feed of a tenant goes on over pages in which nothing is its own."""
    feed = app.state.gateway.feed
    for value in range(3):
        await submit(parties.umbra, value)
    entries = feed.follow_all(START, "acme")
    waiting = asyncio.ensure_future(anext(entries))
    mine = await submit(parties.acme)
    entry = await asyncio.wait_for(waiting, 20)
    assert [str(i) for i in entry.task_ids] == [mine["id"]]
    await entries.aclose()
