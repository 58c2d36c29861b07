"""A task means the same whichever way it comes in: over HTTP, in SQL, by the client, and by the client's SQL."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest

from seedcore.api.app import build_app
from seedcore.client import AsyncSeedCore
from seedcore.client.sql import enqueue
from seedcore.errors import SeedCoreError
from seedcore.settings import Settings
from seedcore.skills.registry import SkillRegistry
from seedcore.tasks.submission.published_settings import publish
from seedcore.tasks.submission.task_options import BOUNDS, EARLIEST, LATEST, Length

pytestmark = pytest.mark.integration

MAX_PARAMS = 2048
WAYS = ("http", "sql", "client", "client's sql")
REFUSED = "refused"

_ROW = """
select t.type, t.params::text, t.queue, t.slow, t.domain, t.priority, t.max_attempts, t.timeout_s, t.run_after,
       t.deadline, t.limit_key, t.limits::text, t.tenant, t.traceparent, t.idempotency_key,
       i.expires_at - i.created_at as period, d.at as closes,
       l.max_running, l.rate_per_s, l.burst,
       case when r.id is not null then 'ready' when f.id is not null then 'deferred' when g.id is not null then 'gated'
       end as place
from seedcore.tasks t
left join seedcore.idempotency i on i.task_id = t.id left join seedcore.deadlines d on d.id = t.id
left join seedcore.limits l on l.key = t.limit_key left join seedcore.ready r on r.id = t.id
left join seedcore.deferred f on f.id = t.id left join seedcore.gated g on g.id = t.id
where t.id = $1
"""


class Ways:
    """Submits one task by each way; what each stores, or `refused`."""

    def __init__(self, http: httpx.AsyncClient, client: AsyncSeedCore, connection: asyncpg.Connection) -> None:
        self.http, self.client, self.connection = http, client, connection

    async def __call__(self, params: str = '{"value": 1}', type_: str = "echo", **options: Any) -> list[Any]:
        """In the order of WAYS; `params` is JSON text, for JSON has more than Python."""
        return [await self._one(way, type_, params, options) for way in WAYS]

    async def _one(self, way: str, type_: str, params: str, options: dict[str, Any]) -> Any:
        try:
            task_id = await self._submit(way, type_, params, options)
        except (SeedCoreError, asyncpg.InvalidParameterValueError):
            return REFUSED
        row = dict(await self.connection.fetchrow(_ROW, task_id))
        if options.get("idempotency_key") is None:
            # The client gives every task a key, so that it may send it again.
            row["idempotency_key"] = row["period"] = None
        await self.connection.execute("truncate seedcore.idempotency, seedcore.limits")
        return row

    async def _submit(self, way: str, type_: str, params: str, options: dict[str, Any]) -> UUID:
        if way == "http":
            named = {"tenant": "X-SeedCore-Tenant", "traceparent": "traceparent"}
            headers = {named[name]: value for name, value in options.items() if name in named and value is not None}
            fields = json.dumps({"type": type_} | {n: value for n, value in options.items() if n not in named})
            answer = await self.http.post(
                "/api/v1/tasks",
                content=f'{fields[:-1]}, "params": {params}}}',
                headers={"content-type": "application/json", **headers},
            )
            if answer.status_code in (400, 413, 422):
                raise SeedCoreError(answer.text)
            assert answer.status_code == 201, answer.text
            return UUID(answer.json()["id"])
        if way == "sql":
            statement = "select seedcore.enqueue($1, $2::text::jsonb, $3::text::jsonb)"
            return await self.connection.fetchval(statement, type_, params, json.dumps(options))
        if way == "client":
            return (await self.client.submit(type_, json.loads(params), **options)).id
        return await enqueue(self.connection, type_, json.loads(params), **options)


@pytest.fixture
async def ways(pg_settings: Settings) -> AsyncIterator[Ways]:
    settings = pg_settings.model_copy(
        update={"max_params_bytes": MAX_PARAMS, "max_attempts": 7, "skills": "tests.client.declaring_skills"}
    )
    app = build_app(settings)
    transport = httpx.ASGITransport(app)
    connection = await asyncpg.connect(settings.pg_dsn.get_secret_value())
    await publish(connection, settings, SkillRegistry.load(settings))
    async with (
        httpx.AsyncClient(transport=transport, base_url="http://test") as http,
        AsyncSeedCore("http://test", transport=transport) as client,
    ):
        yield Ways(http, client, connection)
    await connection.close()
    await app.state.gateway.aclose()


def option(name: str, value: Any) -> dict[str, Any]:
    """As an option of its own, or as one of a limit's."""
    outer, _, inner = name.partition(".")
    return {"limit": {"key": "k", inner: value}} if inner else {outer: value}


def at_bounds() -> list[dict[str, Any]]:
    return [
        option(name, "x" * int(edge) if isinstance(bound, Length) else edge)
        for name, bound in BOUNDS.items()
        for edge in (bound.min, bound.max)
        if name != "type"
    ]


def beyond_bounds() -> list[dict[str, Any]]:
    found = []
    for name, bound in BOUNDS.items():
        if isinstance(bound, Length):
            found += [option(name, "x" * n) for n in (bound.min - 1, bound.max + 1) if n >= 0]
            found += [option(name, wrong) for wrong in (5, True, ["x"], {})]
        else:
            whole = isinstance(bound.min, int) and name != "timeout_s"
            beyond = (bound.min - 1, bound.max + 1) if whole else (bound.min * 0.99, bound.max * 1.01)
            found += [option(name, wrong) for wrong in (*beyond, True, "much", "NaN", "Infinity", [1], {})]
            found += [option(name, 1.5)] if whole else []
    return [case for case in found if "type" not in case]


SOON = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
TIMES = [EARLIEST.isoformat(), LATEST.isoformat(), SOON.isoformat(), SOON.isoformat().replace("+00:00", "Z")]
TIMES += [
    (SOON + timedelta(hours=5)).isoformat().replace("+00:00", "+05:00"),
    SOON.timestamp(),
    SOON.timestamp() * 1000,
]
TIMES += [str(int(SOON.timestamp())), "2020-01-01T00:00:00.123456+01:00"]
NO_TIMES = ["1969-12-31T23:59:59Z", "9999-01-01T00:00:00Z", "2030-01-01T00:00:00", "2030-01-01", "infinity", "tomorrow"]
NO_TIMES += ["now", "soon", "", True, -1, 1e30, [], {}]

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACES = [TRACE, f"cc{TRACE[2:]}", f"cc{TRACE[2:]}-what-comes"]
NO_TRACES = ["", "x", f"{TRACE}-x", TRACE.upper(), f"ff{TRACE[2:]}", TRACE[:-1], f"00-{'0' * 32}{TRACE[35:]}"]
NO_TRACES += [f"{TRACE[:36]}{'0' * 16}-01", f"cc{TRACE[2:]}x"]

ACCEPTED: list[dict[str, Any]] = [
    {},
    *at_bounds(),
    *({"queue": name} for name in ("q", "graph", "a" + "-" * 62)),
    *({name: at} for name in ("run_after", "deadline") for at in TIMES),
    {"limit": {"key": "k"}},
    {"limit": {"key": "k", "max_running": None, "rate_per_s": None, "burst": None}},
    *({"traceparent": trace} for trace in (*TRACES, *NO_TRACES, None)),
    *({"tenant": name} for name in ("acme", "default", "a" * 40, "a-1", None)),
    {"tenant": "acme", "limit": {"key": "k"}, "idempotency_key": "k", "traceparent": TRACE},
    {"tenant": "acme", "limits": [{"key": "b", "cost": 2}, {"key": "a"}]},
    {"limit": {"key": "k", "cost": 1}},
    {"limit": {"key": "k", "cost": 2.5}},
    {"limits": [{"key": "k"}]},
    {"limits": [{"key": "k", "cost": 1e9, "rate_per_s": 5}]},
    {"limits": [{"key": "ü"}, {"key": "b", "cost": 0.1, "max_running": 2}, {"key": "Z", "cost": None}]},
    {"limits": [{"key": f"k{n}", "cost": n + 1} for n in range(8)], "run_after": SOON.isoformat()},
    {"limit": None, "limits": [{"key": "k"}]},
    {"limits": None, "limit": {"key": "k"}},
    {"limit": {"key": "k", "max_running": 3, "rate_per_s": 0.5, "burst": 2}, "run_after": SOON.isoformat()},
    {"idempotency_key": "k", "idempotency_period_s": 60},
    {"domain": "ü\U0001f600'; --", "priority": "5", "timeout_s": "0.5", "max_attempts": 3.0},
    dict.fromkeys(
        ("queue", "domain", "priority", "max_attempts", "timeout_s", "run_after", "deadline", "limit", "limits")
    ),
    {"idempotency_key": None, "idempotency_period_s": None},
]
NOT_ACCEPTED: list[dict[str, Any]] = [
    *beyond_bounds(),
    *({"queue": name} for name in ("", "A", "1", "a b", "q\n", "a" * 64, 5, True)),
    *({name: at} for name in ("run_after", "deadline") for at in NO_TIMES),
    *({"limit": wrong} for wrong in ({}, {"max_running": 1}, {"key": None}, {"key": "k", "more": 1}, [], "k", 5)),
    *({"limits": wrong} for wrong in ([], {}, "k", [{}], ["k"], [{"key": "k"}, {"key": "k"}], {"key": "k"})),
    {"limits": [{"key": f"k{n}"} for n in range(9)]},
    {"limits": [{"key": "k"}], "limit": {"key": "l"}},
    *({"limit": {"key": f"a{control}b"}} for control in ("\x01", "\x1f", "\x7f")),
    *({"tenant": name} for name in ("", "A", "a" * 41, "1", "-a", "a b", "a@b")),
    {"prioritty": 1},
]


async def differing(ways: Ways, cases: list[dict[str, Any]], refused: bool) -> list[Any]:
    wrong = []
    for case in cases:
        rows = await ways(**case)
        if any(row != rows[0] for row in rows) or (rows[0] == REFUSED) != refused:
            wrong.append((case, dict(zip(WAYS, rows, strict=True))))
    return wrong


async def test_each_option_stores_the_same_row_by_each_way(ways: Ways):
    assert await differing(ways, ACCEPTED, refused=False) == []


async def test_what_one_way_refuses_all_refuse(ways: Ways):
    assert await differing(ways, NOT_ACCEPTED, refused=True) == []


async def test_what_a_skill_declares_and_the_settings_say_holds_by_each_way(ways: Ways):
    async def stored(type_: str, params: str = '{"value": 1}', **options: Any) -> set[tuple[int, bool]]:
        return {(row["max_attempts"], row["slow"]) for row in await ways(params, type_, **options)}

    assert await stored("declaring.once") == {(1, False)}
    assert await stored("declaring.once", max_attempts=3) == {(3, False)}
    assert await stored("declaring.slow") == {(7, True)}
    assert await stored("echo") == {(7, False)}
    assert await stored("goal", '{"goal": "value", "inputs": {}}') == {(7, True)}


def padded(text: str) -> str:
    """`text` (with a %) with as much in it as makes MAX_PARAMS bytes of compact JSON."""
    compact = json.dumps(json.loads(text % ""), separators=(",", ":"), ensure_ascii=False)
    return text % ("x" * (MAX_PARAMS - len(compact.encode())))


LARGEST = [
    padded('{"value": "%s"}'),
    padded('{"value": [1, 2.5, null, true, {"a, b": ": ", "\\"c\\": ": "ü, "}], "more": "%s"}'),
    padded('{"value": ' + json.dumps(list(range(400))) + ', "more": "%s"}'),
]
READABLE = ["18446744073709551615", "-9223372036854775808", "1e300", "-1.5", "1.1805916207174113e21"]
READABLE += ["[" * 99 + "]" * 99, '{"a":' * 98 + "[1]" + "}" * 98, json.dumps("[{" * 200 + "9" * 400)]
UNREADABLE = ["18446744073709551616", "-9223372036854775809", "1180591620717411303424", "1e309", "-1e4300"]
UNREADABLE += ["[" * 100 + "]" * 100, "[" * 500 + "]" * 500, '{"a":' * 99 + "[]" + "}" * 99]


async def test_params_within_the_bounds_come_in_by_each_way(ways: Ways):
    for params in [*LARGEST, *(f'{{"value": {value}}}' for value in READABLE)]:
        rows = await ways(params)
        assert REFUSED not in rows, params
        assert [row["params"] for row in rows] == [rows[0]["params"]] * len(WAYS)


async def test_params_beyond_the_bounds_are_refused_by_each_way(ways: Ways):
    too_large = [text.replace("x", "xx", 1) for text in LARGEST]
    for params in [*too_large, *(f'{{"value": {value}}}' for value in UNREADABLE), "[]", "1"]:
        assert (params[:100], await ways(params)) == (params[:100], [REFUSED] * len(WAYS))
