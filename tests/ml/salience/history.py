"""Ended tasks of two streams whose fates differ, as rows of PostgreSQL or of `ended_work`."""

import random
from typing import Any

import asyncpg

from seedcore.tasks.history import EndedWork

DAY_S = 86_400.0


def ended_tasks(n: int = 1_200, seed: int = 0, *, learnable: bool = True) -> list[EndedWork]:
    """Tasks of the last day. Large params fail in the half of cases where they are `learnable`, which the formula does
    not expect; other tasks nearly never do."""
    rng, made = random.Random(seed), []
    for k in range(n):
        large = rng.random() < 0.3
        fails = rng.random() < (0.5 if large and learnable else 0.02)
        at = DAY_S * k / n
        stream = rng.choice(["a", "b"])
        size = rng.randint(50_000, 90_000) if large else rng.randint(10, 500)
        made.append(EndedWork(stream, stream, 0, 1, size, at, at + 1.0, 1.0, fails, False, False, 0.1, None))
    return made


async def store(connection: asyncpg.Connection, tasks: list[EndedWork]) -> None:
    """Write them as tasks that ended within the last day."""
    base = "now() - interval '1 day' + make_interval(secs => created_s)"
    columns: dict[str, list[Any]] = {
        "type": [t.type for t in tasks],
        "size": [max(t.params_bytes - 9, 0) for t in tasks],
        "created_s": [t.created_s for t in tasks],
        "failed": [t.failed for t in tasks],
    }
    await connection.execute(
        f"""
        with given as (
          select seedcore.new_id() as id, type, size, {base} as created, failed
          from unnest($1::text[], $2::int[], $3::float8[], $4::bool[]) as g (type, size, created_s, failed)),
        t as (insert into seedcore.tasks (id, type, params, max_attempts, created_at)
              select id, type, jsonb_build_object('v', repeat('x', size)), 3, created from given),
        f as (insert into seedcore.finished (id, tick, status, attempts, started_at, finished_at, decision)
              select id, 1, 'completed', 1, created, created + interval '1 s', '{{"route": "fast", "evidence": 0.1}}'
              from given where not failed)
        insert into seedcore.dead (id, tick, attempts, started_at, finished_at, error_code, decision)
        select id, 1, 1, created, created + interval '1 s', 'skill_failed', '{{"route": "fast"}}'
        from given where failed
        """,
        *columns.values(),
    )
