"""Facts in PostgreSQL: make, find, change, remove; and which plans relied on them."""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from uuid import UUID

import asyncpg

from seedcore.errors import NotFoundError
from seedcore.memory.facts import statements
from seedcore.memory.facts.fact import Fact, FactDraft, FactFilter
from seedcore.stores.postgres import Database

MAX_RELEVANT = 50
_NEGATIONS = re.compile(r"-(?:[\W_]*-)+")


class FactStore:
    """The facts of all tenants. A method that takes `tenant` None sees those of all."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, draft: FactDraft, tenant: str) -> Fact:
        """Keep a new fact."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(statements.INSERT, tenant, *_values(draft))
            return await _read(connection, row["id"], tenant)

    async def get(self, fact_id: UUID, tenant: str | None) -> Fact:
        """One fact.

        Raises:
            NotFoundError: there is none of that id.
        """
        async with self._database.connection() as connection:
            return await _read(connection, fact_id, tenant)

    async def get_many(self, fact_ids: Sequence[UUID]) -> list[Fact]:
        """Facts of any tenant by id; those that are not there are left out."""
        async with self._database.connection() as connection:
            return [_fact(row) for row in await connection.fetch(statements.GET_MANY, list(fact_ids))]

    async def find(self, wanted: FactFilter, limit: int) -> list[Fact]:
        """Facts, the newest first, at most `limit`."""
        values: list[object] = []
        clauses = []
        for name, condition in statements.CONDITIONS.items():
            value = _searchable(wanted.words) if name == "words" else getattr(wanted, name)
            if value is not None and value != ():
                values.append(value)
                clauses.append(condition.format(len(values)))
        where = f"where {' and '.join(clauses)}" if clauses else ""
        async with self._database.connection() as connection:
            rows = await connection.fetch(statements.find(where, len(values) + 1), *values, limit)
        return [_fact(row) for row in rows]

    async def change(self, fact_id: UUID, tenant: str | None, edit: Callable[[Fact], FactDraft]) -> Fact:
        """Replace what is said of a fact by what `edit` makes of it; no other change comes between.

        Raises:
            NotFoundError: there is none of that id.
        """
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(statements.LOCK, fact_id, tenant)
            if row is None:
                raise _unknown(fact_id)
            await connection.execute(statements.UPDATE, fact_id, *_values(edit(_fact(row))))
            return await _read(connection, fact_id, tenant)

    async def remove(self, fact_id: UUID, tenant: str | None) -> None:
        """Remove a fact, and what is noted of its use.

        Raises:
            NotFoundError: there is none of that id.
        """
        async with self._database.connection() as connection:
            if await connection.fetchval(statements.REMOVE, fact_id, tenant) is None:
                raise _unknown(fact_id)

    async def relevant(self, text: str, tenant: str, k: int = 8, at: datetime | None = None) -> list[Fact]:
        """Facts that hold at a moment (now, when it is left out) and share words with `text`, the best match first."""
        async with self._database.connection() as connection:
            moment = at or datetime.now(UTC)
            rows = await connection.fetch(statements.RELEVANT, tenant, text[:10_000], moment, min(k, MAX_RELEVANT))
        return [_fact(row) for row in rows]


async def record_uses(connection: asyncpg.Connection, task_id: UUID, facts: Sequence[UUID], tenant: str) -> None:
    """Note that the plan of a task relied on facts; ids that are no facts of its tenant are left out."""
    if facts:
        await connection.execute(statements.USE, list(facts), task_id, tenant)


async def facts_of_plan(connection: asyncpg.Connection, task_id: UUID) -> list[Fact]:
    """The facts that the plan of a task relied on and that are still kept, the newest first."""
    return [_fact(row) for row in await connection.fetch(statements.USED_BY, task_id)]


async def forget_uses(connection: asyncpg.Connection, days: float) -> int:
    """Remove notes of uses that are older than that; their tasks have gone, too. Returns how many."""
    return int(await connection.fetchval(statements.FORGET_USES, days))


async def _read(connection: asyncpg.Connection, fact_id: UUID, tenant: str | None) -> Fact:
    row = await connection.fetchrow(statements.GET, fact_id, tenant)
    if row is None:
        raise _unknown(fact_id)
    return _fact(row)


def _searchable(words: str | None) -> str | None:
    """Words without negations of negations, of which PostgreSQL's parser takes 32 at most."""
    return None if words is None else _NEGATIONS.sub("-", words)


def _values(draft: FactDraft) -> list[object]:
    return [
        draft.subject,
        draft.predicate,
        draft.object,
        draft.full_text,
        list(draft.tags),
        draft.source,
        draft.valid_from,
        draft.valid_to,
    ]


def _fact(row: asyncpg.Record) -> Fact:
    return Fact(
        row["id"],
        row["tenant"],
        row["subject"],
        row["predicate"],
        row["object"],
        row["text"],
        tuple(row["tags"]),
        row["source"],
        row["valid_from"],
        row["valid_to"],
        row["created_at"],
        row["updated_at"],
        tuple(sorted(row["contradicts"], reverse=True)),
    )


def _unknown(fact_id: UUID) -> NotFoundError:
    return NotFoundError(f"There is no fact {fact_id}.")
