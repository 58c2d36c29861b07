"""EXPLAIN of the hot statements on a database with history: index and TID scans, never a scan of a whole table."""

import json
import re
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest

from seedcore.tasks.model import new_id
from seedcore.tasks.sql import claim, commands, events, finish, leases, reap, sessions, submit

pytestmark = pytest.mark.integration

HISTORY = """
insert into seedcore.tasks (id, type, params, max_attempts)
select seedcore.new_id(), 'echo', '{"value": 1}', 5 from generate_series(1, 20000);
insert into seedcore.finished (id, tick, token, status, attempts)
select id, nextval('seedcore.ticks'), nextval('seedcore.ticks'), 'completed', 1 from seedcore.tasks;
insert into seedcore.tasks (id, type, params, max_attempts)
select seedcore.new_id(), 'echo', '{"value": 1}', 5 from generate_series(1, 20000);
insert into seedcore.ready (id, queue, rank)
select t.id, 'default', 0 from seedcore.tasks t left join seedcore.finished f using (id) where f.id is null;
insert into seedcore.leases (id, token, owner, attempts)
select seedcore.new_id(), nextval('seedcore.ticks'), gen_random_uuid(), 1 from generate_series(1, 3000);
insert into seedcore.deferred (id, run_at)
select seedcore.new_id(), now() + interval '1 hour' from generate_series(1, 20000);
"""

STATEMENTS: dict[str, tuple[str, list[str]]] = {
    "CLAIM": (
        "text, uuid, int, bool, smallint[], text[], bigint[], smallint[], text[]",
        ["'default'", f"'{new_id()}'", "500", "false", "'{-32768}'", "'{\"\"}'", "'{0}'", "'{32767}'", "'{\"\"}'"],
    ),
    "FINISH": (
        "uuid[], bigint[], text[], text[], text[], text[], text[], bool[], int[], jsonb",
        [
            f"array['{new_id()}']::uuid[]",
            "'{1}'",
            "'{completed}'",
            "'{null}'",
            "'{null}'",
            "'{null}'",
            "'{null}'",
            "'{t}'",
            "'{0}'",
            """'[{"tenant": "t", "type": "echo", "agent": "a", "code": ""}]'""",
        ],
    ),
    "RETRY": (
        "uuid[], bigint[], float8[], text[], text[]",
        [f"array['{new_id()}']::uuid[]", "'{1}'", "'{1}'", "'{x}'", "'{x}'"],
    ),
    "RELEASE": ("uuid[], bigint[], bool[]", [f"array['{new_id()}']::uuid[]", "'{1}'", "'{f}'"]),
    "HEARTBEAT": ("uuid, float8, int, bool, bool, bool", [f"'{new_id()}'", "15", "1", "true", "true", "true"]),
    "LEAD": ("uuid, float8", [f"'{new_id()}'", "5"]),
    "DUE": ("int", ["1000"]),
    "CLOSE_LATE": ("uuid[]", [f"array['{new_id()}']::uuid[]"]),
    "LATE": ("uuid[]", [f"array['{new_id()}']::uuid[]"]),
    "LIVES": ("uuid[]", [f"array['{new_id()}']::uuid[]"]),
    "LOG": ("text, text[], text, bigint, int", ["'1'", "'{}'", "'10:10:'", "0", "500"]),
    "PROMOTE": ("int", ["1000"]),
    "EVENTS": ("uuid[], bigint[]", [f"array['{new_id()}']::uuid[]", "'{0}'"]),
    "CANCEL": ("uuid", [f"'{new_id()}'"]),
}
STATEMENTS["SURVEY"] = (
    "text, bool, smallint[], text[], bigint[], smallint[], text[], int",
    [*(STATEMENTS["CLAIM"][1][n] for n in (0, 3, 4, 5, 6, 7, 8)), "128"],
)
STATEMENTS["CLAIM_IN_TURNS"] = (
    f"{STATEMENTS['CLAIM'][0]}, smallint[], text[], bigint[], smallint[], text[], bigint[], int[], int, int",
    [*STATEMENTS["CLAIM"][1], "'{0}'", "'{acme}'", "'{0}'", "'{0}'", "'{acme}'", "'{1000}'", "'{5}'", "0", "0"],
)
STATEMENTS["FINISH_AND_CLAIM_IN_TURNS"] = (
    f"{STATEMENTS['FINISH'][0]}, {STATEMENTS['CLAIM_IN_TURNS'][0]}",
    [*STATEMENTS["FINISH"][1], *STATEMENTS["CLAIM_IN_TURNS"][1]],
)
STATEMENTS["FINISH_AND_CLAIM"] = (
    f"{STATEMENTS['FINISH'][0]}, {STATEMENTS['CLAIM'][0]}",
    [*STATEMENTS["FINISH"][1], *STATEMENTS["CLAIM"][1]],
)
STATEMENTS |= {
    "HOLD": (
        "uuid[], bigint[], text[], float8, text",
        [f"array['{new_id()}']::uuid[]", "'{1}'", "'{null}'", "60", "'reject'"],
    ),
    "STARTED": ("uuid[], bigint[]", [f"array['{new_id()}']::uuid[]", "'{1}'"]),
    "PROGRESS": ("uuid[], bigint[], text[]", [f"array['{new_id()}']::uuid[]", "'{1}'", "'{null}'"]),
    "OF_SESSION": ("uuid, int", [f"'{new_id()}'", "1000"]),
    "TAKE_BACK": (
        "uuid[], bigint[], bool[], float8[], int",
        [f"array['{new_id()}']::uuid[]", "'{1}'", "'{f}'", "'{1}'", "5"],
    ),
}
TEXTS: dict[str, str] = {
    name: text
    for module in (claim, commands, events, finish, leases, reap, sessions)
    for name, text in vars(module).items()
    if name in STATEMENTS
}
SHORT = ("ready", "deferred", "gated", "held", "leases")
LARGE = re.compile(rf"({'|'.join(SHORT)}|tasks|finished|dead|events)(_d\w+)?")

# A dispatcher's queue is empty again and again, and whenever a vacuum sees that, PostgreSQL takes the table for empty
# until the next one.
VACUUMED_EMPTY = [
    "analyze",
    *(f"create temporary table was_{table} as table seedcore.{table}; delete from seedcore.{table}" for table in SHORT),
    *(f"vacuum (truncate false) seedcore.{table}" for table in SHORT),
    *(f"insert into seedcore.{table} overriding system value table was_{table}" for table in SHORT),
]
LOOKED_AT = {"analyzed": ["vacuum analyze"], "never analyzed": [], "vacuumed while empty": VACUUMED_EMPTY}


@pytest.fixture
async def with_history(connection: asyncpg.Connection) -> asyncpg.Connection:
    await connection.execute(HISTORY)
    await connection.execute("vacuum analyze")
    return connection


def scans(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The nodes of a plan that read a table."""
    if "Relation Name" in node and "Scan" in node["Node Type"]:
        yield node
    for part in node.get("Plans", ()):
        yield from scans(part)


async def plan_of(connection: asyncpg.Connection, name: str) -> dict[str, Any]:
    types, values = STATEMENTS[name]
    await connection.execute(f"prepare s_{name.lower()} ({types}) as {TEXTS[name]}")
    text = await connection.fetchval(f"explain (format json) execute s_{name.lower()} ({', '.join(values)})")
    return json.loads(text)[0]["Plan"]


@pytest.mark.parametrize("looked_at", LOOKED_AT)
async def test_no_hot_statement_reads_a_whole_table(connection: asyncpg.Connection, looked_at: str):
    await connection.execute(HISTORY)
    for statement in LOOKED_AT[looked_at]:
        await connection.execute(statement)
    whole = []
    # LEAD asks for the first row of each.
    for name in STATEMENTS.keys() - {"LEAD"}:
        for scan in scans(await plan_of(connection, name)):
            found = {key for key in ("Index Cond", "TID Cond") if key in scan}
            if LARGE.fullmatch(scan["Relation Name"]) and not found:
                whole.append(f"{name}: {scan['Node Type']} on {scan['Relation Name']}")
    assert "\n".join(whole) == ""


@pytest.mark.parametrize("looked_at", LOOKED_AT)
@pytest.mark.parametrize(
    "name", ["FINISH", "FINISH_AND_CLAIM", "FINISH_AND_CLAIM_IN_TURNS", "RETRY", "RELEASE", "HOLD"]
)
async def test_an_acknowledgement_looks_each_lease_up(connection: asyncpg.Connection, name: str, looked_at: str):
    """Never each lease against each acknowledgement: that is 250,000 comparisons for a batch of 500."""
    await connection.execute(HISTORY)
    for statement in LOOKED_AT[looked_at]:
        await connection.execute(statement)
    (lookup,) = [scan for scan in scans(await plan_of(connection, name)) if scan["Relation Name"] == "leases"]
    assert lookup["Index Name"] == "leases_pkey"
    assert re.fullmatch(r"\(\(id >= (a\w*)\.id\) AND \(id <= \1\.id\)\)", lookup["Index Cond"])


@pytest.mark.parametrize("name", ["CLAIM", "CLAIM_IN_TURNS"])
async def test_a_claim_takes_its_page_by_tid(with_history: asyncpg.Connection, name: str):
    types, values = STATEMENTS[name]
    await with_history.execute(f"prepare claim ({types}) as {TEXTS[name]}")
    rows = await with_history.fetch(f"explain execute claim ({', '.join(values)})")
    plan = "\n".join(row[0] for row in rows)
    assert "Tid Scan on ready" in plan
    assert "Index Scan using ready_turns" in plan
    assert re.search(r"Index Scan using tasks_d\d+_pkey on tasks_d\d+", plan), plan


async def test_no_statement_needs_the_index_that_the_next_migration_drops(with_history: asyncpg.Connection):
    await with_history.execute("drop index if exists seedcore.ready_order")
    for name in ("CLAIM", "CLAIM_IN_TURNS", "SURVEY"):
        ready = [scan for scan in scans(await plan_of(with_history, name)) if scan["Relation Name"] == "ready"]
        used = {scan["Index Name"] for scan in ready if "Index Name" in scan}
        assert used == {"ready_turns"}, name


BACKLOG = """
insert into seedcore.ready (id, queue, rank) select seedcore.new_id(), 'default', 0 from generate_series(1, 40000)
"""

STATES_OF_READY = {
    "analysed full": [BACKLOG, "analyze seedcore.ready"],
    "never looked at": [BACKLOG],
    # PostgreSQL takes the pages for empty then, however much has come since.
    "vacuumed while the queue was empty": [
        BACKLOG,
        "analyze seedcore.ready",
        "delete from seedcore.ready",
        "vacuum (truncate false) seedcore.ready",
        BACKLOG,
    ],
    "vacuumed with a few left": [
        BACKLOG,
        "delete from seedcore.ready where seq % 400 <> 0",
        "vacuum (analyze, truncate false) seedcore.ready",
        BACKLOG,
    ],
}


@pytest.mark.parametrize("state", STATES_OF_READY)
@pytest.mark.parametrize("name", ["CLAIM", "FINISH_AND_CLAIM", "CLAIM_IN_TURNS", "FINISH_AND_CLAIM_IN_TURNS"])
async def test_a_claim_reads_on_in_order_and_sorts_no_backlog(connection: asyncpg.Connection, name: str, state: str):
    """A bitmap of all that waits, sorted for each batch, took the drain of 40,000 from 5 s to 32 s."""
    for statement in STATES_OF_READY[state]:
        await connection.execute(statement)
    types, values = STATEMENTS[name]
    await connection.execute(f"prepare claim ({types}) as {TEXTS[name]}")
    rows = await connection.fetch(f"explain execute claim ({', '.join(values)})")
    plan = "\n".join(row[0] for row in rows)
    page = plan[plan.index("CTE in_turn" if "TURNS" in name else "CTE taken") : plan.index("CTE leased")]
    assert "Index Scan using ready_turns" in page, page
    assert not re.search("Bitmap|Sort", page), page


@pytest.mark.parametrize(
    ("name", "parameters"), [("SUBMIT_ONE_KEYED", 14), ("SUBMIT_KEYED", 32), ("SUBMIT_NOW_NEW_KEYS", 28)]
)
async def test_a_submission_with_keys_reads_no_table(connection: asyncpg.Connection, name: str, parameters: int):
    """A new key opened the partitions of every day: half of what one submission took."""
    await connection.execute(f"prepare submission as {getattr(submit, name)}")
    nulls = ", ".join(["null"] * parameters)
    text = await connection.fetchval(f"explain (format json) execute submission ({nulls})")
    assert list(scans(json.loads(text)[0]["Plan"])) == []
