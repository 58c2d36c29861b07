"""Promote and roll back: who answers, what is stored, and what a kill or a rival leaves."""

import asyncio
import subprocess
import sys
import textwrap

import pytest

from seedcore.errors import ConflictError, NotFoundError
from seedcore.settings import Settings
from tests.ml.gate.support import NAME, check_servable, gate_on, store_version


async def test_the_first_version_is_promoted_at_once_and_the_next_shadows(pg_settings: Settings):
    async with gate_on(pg_settings) as gate:
        first = await gate.promotions.promote(NAME, 1, by="ann")
        assert (first.status, first.evidence) == ("promoted", {"decided_by": "first"})
        second = await gate.promotions.promote(NAME, 2, reason="newer data", by="bob")
        assert second.status == "shadowing"
        assert await gate.versions() == {"champion": 1, "candidate": 2}
        stored = await gate.promotion()
        assert (stored["opened_by"], stored["reason"], stored["status"]) == ("bob", "newer data", "shadowing")
        assert stored["terms"]["alpha"] == 0.05
        again = await gate.promotions.promote(NAME, 2)
        assert (again.status, again.id) == ("shadowing", None)
        already = await gate.promotions.promote(NAME, 1)
        assert (already.status, already.id) == ("promoted", None)
        await check_servable(gate)


async def test_a_newer_promotion_withdraws_the_older_and_force_ends_both(pg_settings: Settings):
    async with gate_on(pg_settings) as gate:
        await gate.shadowing(2)
        await gate.promotions.promote(NAME, 3)
        assert await gate.versions() == {"champion": 1, "candidate": 3}
        forced = await gate.promotions.promote(NAME, 2, force=True)
        assert forced.status == "promoted"
        assert await gate.versions() == {"champion": 2}
        statuses = await gate.fetch("select candidate, status, forced from seedcore.promotions order by id")
        assert [tuple(row) for row in statuses] == [
            (1, "promoted", False),
            (2, "withdrawn", False),
            (3, "withdrawn", False),
            (2, "promoted", True),
        ]
        assert (await gate.promotion())["evidence"]["watch"]["watched"] is False


async def test_what_cannot_replace_the_champion_is_refused_at_once(pg_settings: Settings):
    async with gate_on(pg_settings) as gate:
        await gate.shadowing(2)
        store_version(gate.store, 4, features=["age", "city", "height"])
        answer = await gate.promotions.promote(NAME, 4)
        assert answer.status == "refused"
        assert "the columns height" in str(answer.evidence["reason"])
        assert await gate.versions() == {"champion": 1, "candidate": 2}


async def test_a_version_that_is_missing_or_damaged_is_not_promoted(pg_settings: Settings):
    async with gate_on(pg_settings) as gate:
        with pytest.raises(NotFoundError):
            await gate.promotions.promote(NAME, 9)
        (gate.store.root / NAME / "2" / "model.ubj").write_bytes(b"{ }")
        with pytest.raises(ConflictError, match="SHA-256"):
            await gate.promotions.promote(NAME, 2, force=True)
        assert await gate.versions() == {}


async def test_rollback_goes_back_champion_by_champion_and_then_refuses(pg_settings: Settings):
    async with gate_on(pg_settings) as gate:
        with pytest.raises(ConflictError, match="no champion"):
            await gate.promotions.rollback(NAME, "why not", None)
        await gate.promotions.promote(NAME, 1)
        for version in (2, 3):
            await gate.promotions.promote(NAME, version, force=True)
        await gate.promotions.promote(NAME, 1)
        assert await gate.promotions.rollback(NAME, "worse", "ann") == 2
        assert await gate.versions() == {"champion": 2}
        rolled = await gate.fetch("select evidence::text from seedcore.promotions where status = 'rolled_back'")
        assert '"by": "ann"' in rolled[0][0]
        assert await gate.promotions.rollback(NAME, "worse still", "ann") == 1
        with pytest.raises(ConflictError, match="no champion of 'm' before version 1"):
            await gate.promotions.rollback(NAME, "and again", "ann")
        await check_servable(gate)


async def test_rollback_refuses_a_version_that_is_gone(pg_settings: Settings):
    async with gate_on(pg_settings) as gate:
        await gate.promotions.promote(NAME, 1)
        await gate.promotions.promote(NAME, 2, force=True)
        gate.store.delete(NAME, 1)
        with pytest.raises(ConflictError, match="no longer stored"):
            await gate.promotions.rollback(NAME, "worse", None)
        await check_servable(gate)


async def test_rivals_leave_one_champion_and_one_candidate(pg_settings: Settings):
    async with gate_on(pg_settings) as gate:
        await gate.promotions.promote(NAME, 1)
        calls = [
            *(gate.promotions.promote(NAME, 1 + i % 3, force=i % 4 == 0) for i in range(20)),
            *(gate.promotions.rollback(NAME, "rival", None) for _ in range(6)),
        ]
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [r for r in results if isinstance(r, BaseException) and not isinstance(r, ConflictError)] == []
        await check_servable(gate)


CHILD = """
import asyncio, os, signal, sys
import asyncpg
from seedcore.ml.gate.promotions import Promotions
from seedcore.ml.registry.model_store import ModelStore
from seedcore.settings import load_settings
from seedcore.stores.postgres import Database

settings = load_settings(data_dir=sys.argv[1], pg_dsn=sys.argv[2])
store = ModelStore(settings.models_dir)

def deadly(last):
    done = 0
    def counted(method):
        async def call(self, *given, **named):
            nonlocal done
            answer = await method(self, *given, **named)
            done += 1
            if done == last:
                os.kill(os.getpid(), signal.SIGKILL)
            return answer
        return call
    for name in ("execute", "fetchval", "fetchrow", "fetch"):
        setattr(asyncpg.Connection, name, counted(getattr(asyncpg.Connection, name)))

async def act(what):
    database = Database(settings, size=1)
    promotions = Promotions(settings, store, database)
    if what == "force":
        await promotions.promote("m", 3, force=True)
    elif what == "promote":
        await promotions.promote("m", 3)
    else:
        await promotions.rollback("m", "killed", None)
    await database.aclose()

for what in ("promote", "force", "rollback"):
    for last in range(1, 40):
        pid = os.fork()
        if pid == 0:
            deadly(last)
            asyncio.run(act(what))
            os._exit(0)
        status = os.waitpid(pid, 0)[1]
        print(what, last, "killed" if os.WIFSIGNALED(status) else "done", flush=True)
        sys.stdin.readline()
        if not os.WIFSIGNALED(status):
            break
"""


async def test_a_kill_between_any_two_statements_leaves_what_can_be_served(pg_settings: Settings):
    async with gate_on(pg_settings) as gate:
        await gate.shadowing(2)
        assert pg_settings.pg_dsn is not None
        command = [sys.executable, "-c", textwrap.dedent(CHILD)]
        arguments = [str(pg_settings.data_dir), pg_settings.pg_dsn.get_secret_value()]
        child = await asyncio.create_subprocess_exec(
            *command, *arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert child.stdin is not None
        assert child.stdout is not None
        seen: dict[str, list[str]] = {}
        states = []
        while line := (await child.stdout.readline()).decode().split():
            seen.setdefault(line[0], []).append(line[2])
            await check_servable(gate)
            states.append((line[0], line[2], await gate.versions()))
            child.stdin.write(b"\n")
            await child.stdin.drain()
        assert await child.wait() == 0
        assert {what: kinds[-1] for what, kinds in seen.items()} == dict.fromkeys(seen, "done")
        assert all(kinds.count("killed") >= 5 for kinds in seen.values())
        assert [state[2] for state in states if state[1] == "done"] == [
            {"champion": 1, "candidate": 3},
            {"champion": 3},
            {"champion": 1},
        ]
