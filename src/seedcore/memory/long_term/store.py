"""Remembers texts and finds them again, by meaning and by words."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

import asyncpg
import orjson

from seedcore.errors import InvalidInputError, SeedCoreError
from seedcore.memory.long_term import memory_statements as statements
from seedcore.memory.long_term.items import (
    FoundMemory,
    NewMemory,
    checked_items,
    checked_scopes,
    checked_tags,
    checked_text,
    digest_of,
)
from seedcore.memory.long_term.memory_limits import MAX_K, MAX_TEXT_CHARS
from seedcore.memory.long_term.replaced_embedder import BEING_EMBEDDED, ReplacedEmbedder
from seedcore.memory.long_term.vector_text import vector_text
from seedcore.stores.postgres import DATABASE_ERRORS, Database, loads
from seedcore.telemetry.logs import get_logger
from seedcore.telemetry.metrics import counter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from seedcore.llm.embedding.embedder import Embedder

EMBED_S = 10.0
"""Longest wait for the embedder; then words alone are kept or searched, and the answer says so."""
LOOK_AGAIN_S = 60.0
"""After which a database without vectors is asked again whether it has them."""
NOTE_EVERY_S = 30.0
EF_SEARCH = 100
HALF = 50
"""How many each half gives to be fused, or four times as many as are wanted."""

NO_PGVECTOR = "memory_without_vectors"
NO_EMBEDDER = "memory_without_embedder"


@dataclass(frozen=True, slots=True)
class MemorySearch:
    """What a search found, best first, and what it had to do without: a name of a fallback, or None."""

    items: list[FoundMemory]
    fallback: str | None = None


@dataclass(frozen=True, slots=True)
class Remembered:
    """Ids of memories in the order of the items; the same text twice has one id."""

    ids: list[UUID]
    fallback: str | None = None


class MemoryStore:
    """The memories of all tenants. Safe for use by several tasks of one event loop.

    Args:
        database: where they are.
        embedder: makes their vectors; None: words alone are searched.
    """

    def __init__(self, database: Database, embedder: "Embedder | None") -> None:
        self._database, self._embedder = database, embedder
        self._replaced = ReplacedEmbedder(database, embedder)
        self._vectors = False
        self._looked_at = float("-inf")
        self._used: Counter[UUID] = Counter()
        self._noted_at = time.monotonic()
        self._log = get_logger("seedcore.memory")

    async def remember(self, items: Sequence[NewMemory]) -> list[UUID]:
        """Store texts; returns their ids in order. What is returned is found by the next search.

        Raises:
            InvalidInputError: an item cannot be stored.
            UnavailableError: the database does not answer.
        """
        return (await self.keep(items)).ids

    async def keep(self, items: Sequence[NewMemory]) -> Remembered:
        """`remember`, saying which fallback was used: without vectors, a memory is found by its words."""
        checked = checked_items(items)
        if not checked:
            return Remembered([])
        keys = [(item.tenant, item.scope, item.source, digest_of(item.text)) for item in checked]
        unique = dict(zip(keys, checked, strict=True))
        vectors, fallback = await self._embed([item.text for item in unique.values()])
        rows = [_row(n, item) for n, item in enumerate(unique.values())]
        async with self._database.transaction() as connection:
            placed = await _insert(connection, rows, vectors, self._embedder)
            ids = dict(zip(unique, placed, strict=True))
            earlier = [(unique[key], id_) for key, id_ in ids.items() if unique[key].replaces]
            if earlier:
                await connection.execute(
                    statements.FORGET_EARLIER,
                    [item.tenant for item, _ in earlier],
                    [item.source for item, _ in earlier],
                    [item.source_id for item, _ in earlier],
                    [id_ for _, id_ in earlier],
                )
        return Remembered([ids[key] for key in keys], fallback)

    async def search(
        self,
        query: str,
        k: int = 10,
        *,
        tenant: str = "default",
        scopes: Sequence[str] | None = None,
        tags: Sequence[str] = (),
    ) -> list[FoundMemory]:
        """The `k` memories of a tenant that fit best, by meaning and by words.

        Args:
            query: a text.
            k: how many, from 1 to 100.
            tenant: whose.
            scopes: those to look in; None: all of the tenant's.
            tags: those that a memory must have, all of them.

        Raises:
            InvalidInputError: an argument is out of bounds.
            UnavailableError: the database does not answer.
        """
        return (await self.find(query, k, tenant=tenant, scopes=scopes, tags=tags)).items

    async def find(
        self,
        query: str,
        k: int = 10,
        *,
        tenant: str = "default",
        scopes: Sequence[str] | None = None,
        tags: Sequence[str] = (),
    ) -> MemorySearch:
        """`search`, saying which fallback was used."""
        if not 1 <= k <= MAX_K:
            raise InvalidInputError.for_field("k", f"must be from 1 to {MAX_K}")
        checked_text(query, "query", MAX_TEXT_CHARS)
        filters = (tenant, query, checked_scopes(scopes), checked_tags(tags), max(HALF, 4 * k), k)
        vectors, fallback = await self._embed([query])
        session, statement, near = statements.SEARCH_SESSION, statements.SEARCH_TEXTS, []
        if vectors is not None and self._embedder is not None:
            near = [self._embedder.name, vector_text(vectors[0])]
            older, fallback = await self._replaced.find()
            dimensions = [self._embedder.dimension]
            if older is not None:
                beside = await self._vectors_by(older, [query])
                if beside is None:
                    fallback = _fell_back(BEING_EMBEDDED)
                else:
                    dimensions.append(older.dimension)
                    near += [older.name, vector_text(beside[0])]
            session += statements.VECTOR_SESSION.format(ef=max(EF_SEARCH, filters[4]))
            statement = statements.search_statement(*dimensions)
        async with self._database.transaction() as connection:
            await connection.execute(session)
            rows = await connection.fetch(statement, *filters, *near)
        await self._note([row["id"] for row in rows])
        return MemorySearch([_found(row) for row in rows], fallback)

    async def forget_source(self, source: str, source_ids: Sequence[str]) -> None:
        """Forget what came from these things."""
        async with self._database.connection() as connection:
            await connection.execute(statements.FORGET_SOURCE, source, source_ids)

    async def has_vectors(self) -> bool:
        """Whether the database keeps vectors; asked again at most once a minute while it does not."""
        if not self._vectors and time.monotonic() - self._looked_at > LOOK_AGAIN_S:
            async with self._database.connection() as connection:
                self._vectors = bool(await connection.fetchval(statements.HAS_VECTORS))
            self._looked_at = time.monotonic()
        return self._vectors

    async def _embed(self, texts: Sequence[str]) -> "tuple[NDArray[np.float32] | None, str | None]":
        """Vectors of the texts, or None and the name of the fallback."""
        if not await self.has_vectors():
            return None, _fell_back(NO_PGVECTOR)
        if self._embedder is None:
            return None, _fell_back(NO_EMBEDDER)
        vectors = await self._vectors_by(self._embedder, texts)
        return vectors, _fell_back(NO_EMBEDDER) if vectors is None else None

    async def _vectors_by(self, embedder: "Embedder", texts: Sequence[str]) -> "NDArray[np.float32] | None":
        """Vectors of the texts; None: the embedder failed, whatever its reason, such as a budget that is used up."""
        try:
            return await asyncio.wait_for(embedder.embed(texts), EMBED_S)
        except (SeedCoreError, TimeoutError) as error:
            self._log.warning("embedder failed, words alone", model=embedder.name, reason=str(error))
            return None

    async def _note(self, ids: Sequence[UUID]) -> None:
        """Count what was found; written in sums, as forgetting needs no more."""
        self._used.update(ids)
        if not self._used or time.monotonic() - self._noted_at < NOTE_EVERY_S:
            return
        used, self._used, self._noted_at = self._used, Counter(), time.monotonic()
        ids = sorted(used)
        try:
            async with self._database.connection() as connection:
                await connection.execute(statements.NOTE_USES, ids, [used[id_] for id_ in ids])
        except DATABASE_ERRORS as error:
            # A database that takes no writes is still searched.
            self._log.info("uses not counted", reason=str(error))


def _fell_back(name: str) -> str:
    counter("seedcore_fallbacks_total").add(1, fallback=name)
    return name


def _row(n: int, item: NewMemory) -> dict[str, object]:
    return {
        "n": n,
        "tenant": item.tenant,
        "scope": item.scope,
        "source": item.source,
        "hash": digest_of(item.text).hex(),
        "source_id": item.source_id,
        "text": item.text,
        "tags": list(item.tags),
        "metadata": item.metadata,
        "salience": item.salience,
    }


async def _insert(
    connection: asyncpg.Connection,
    rows: list[dict[str, object]],
    vectors: "NDArray[np.float32] | None",
    embedder: "Embedder | None",
) -> list[UUID]:
    """Ids of the rows, in their order."""
    given = orjson.dumps(rows).decode()
    if vectors is None or embedder is None:
        found = await connection.fetch(statements.REMEMBER_TEXTS, given)
    else:
        texts = [vector_text(vector) for vector in vectors]
        found = await connection.fetch(
            statements.REMEMBER_WITH_VECTORS, given, embedder.name, embedder.dimension, texts
        )
    ids = {row["n"]: row["id"] for row in found}
    return [ids[n] for n in range(len(rows))]


def _found(row: asyncpg.Record) -> FoundMemory:
    scores = {"vector": row["near"], "text": row["words"]}
    return FoundMemory(
        id=row["id"],
        text=row["text"],
        score=row["score"],
        scores={name: float(score) for name, score in scores.items() if score is not None},
        scope=row["scope"],
        source=row["source"],
        source_id=row["source_id"],
        tags=tuple(row["tags"]),
        metadata=loads(row["metadata"]),
        salience=row["salience"],
        created_at=row["created_at"],
    )
