"""Gives every memory a vector of the embedder in use: after a change of embedders, and where one was away.

It goes through the memories in the order of their ids, a page a transaction, and notes in the same transaction how far
it is: killed anywhere, it goes on there. New memories get their vector when they are stored. While it runs a search
looks among the vectors of both embedders; when every memory has one, those of others are deleted.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

import asyncpg

from seedcore.memory.long_term import memory_statements as statements
from seedcore.memory.long_term.vector_text import vector_text
from seedcore.stores.postgres import Database, loads
from seedcore.telemetry.logs import get_logger

if TYPE_CHECKING:
    from seedcore.llm.embedding.embedder import Embedder

PAGE = 256
DELETE_PAGE = 2_000
LOOK_AGAIN_S = 600.0
"""After which memories are looked through again for those that an embedder which was away left without a vector."""

JOB = "embed "
"""Before the model's name: the name of its row in memory_jobs."""

Report = Callable[[int], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class ModelState:
    """How far the memories have vectors of a model.

    Attributes:
        complete: when the job last looked, `age_s` seconds ago, every memory had one.
        cursor: the last memory that a run has come to which has not ended; None: there is none.
        embedded: how many vectors the job has made.
    """

    model: str
    dimension: int
    complete: bool = False
    cursor: UUID | None = None
    embedded: int = 0
    age_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Reembedded:
    """What a run did: vectors that it made, and vectors of other models that it deleted."""

    model: str
    embedded: int
    deleted: int


async def model_states(connection: asyncpg.Connection) -> list[ModelState]:
    """All models that memories have had vectors of."""
    return [_state(row) for row in await connection.fetch(statements.MODEL_STATES, JOB)]


class Reembedding:
    """The job, of one embedder. Two that run at once do the same work twice, and nothing wrong.

    Args:
        database: where the memories are.
        embedder: the one in use.
    """

    def __init__(self, database: Database, embedder: "Embedder") -> None:
        self._database, self._embedder = database, embedder
        self._name = JOB + embedder.name
        self._log = get_logger("seedcore.memory.reembedding").bind(model=embedder.name)

    async def run_when_due(self) -> None:
        """`run`, unless every memory had a vector lately; a round of the leader's job."""
        async with self._database.connection() as connection:
            if not await connection.fetchval(statements.HAS_VECTORS):
                return
            states = {state.model: state for state in await model_states(connection)}
        state = states.get(self._embedder.name)
        if state is None or not state.complete or state.age_s > LOOK_AGAIN_S:
            await self.run()

    async def run(self, report: Report | None = None) -> Reembedded:
        """Embed what has no vector of the embedder, then delete vectors of others.

        Args:
            report: gets how many memories have been embedded.

        Raises:
            UnavailableError: the embedder or the database does not answer; the next run goes on from there.
        """
        async with self._database.connection() as connection:
            row = await connection.fetchrow(statements.BEGIN_MODEL, self._name, self._embedder.dimension)
        embedded, cursor = 0, _state(row).cursor
        # A pass that began in the middle, or took time, may have left something behind it.
        while (found := await self._pass(cursor, embedded, report)) or cursor is not None:
            embedded, cursor = embedded + found, None
        async with self._database.connection() as connection:
            await connection.execute(statements.MODEL_COMPLETE, self._name)
        deleted = await self._delete_others()
        if embedded or deleted:
            self._log.info("memories embedded", embedded=embedded, deleted=deleted)
        return Reembedded(self._embedder.name, embedded, deleted)

    async def _pass(self, cursor: UUID | None, before: int, report: Report | None) -> int:
        """Embed what has no vector among the memories after `cursor`; how many these were."""
        embedded = 0
        while True:
            async with self._database.connection() as connection:
                page = await connection.fetch(statements.WITHOUT_VECTOR, cursor, self._embedder.name, PAGE)
            if not page:
                return embedded
            vectors = await self._embedder.embed([row["text"] for row in page])
            cursor, embedded = page[-1]["id"], embedded + len(page)
            texts = [vector_text(vector) for vector in vectors]
            async with self._database.transaction() as connection:
                model = self._embedder.name, self._embedder.dimension
                await connection.execute(statements.ADD_VECTORS, [row["id"] for row in page], texts, *model)
                await connection.execute(statements.MODEL_PROGRESS, self._name, str(cursor), len(page))
            if report is not None:
                await report(before + embedded)

    async def _delete_others(self) -> int:
        """Delete the vectors of other models, a page a transaction."""
        deleted = 0
        while True:
            async with self._database.connection() as connection:
                page = int(await connection.fetchval(statements.DELETE_OTHERS, self._embedder.name, DELETE_PAGE))
                deleted += page
                if page < DELETE_PAGE:
                    await connection.execute(statements.FORGET_MODELS, JOB, self._name)
                    return deleted


def _state(row: asyncpg.Record) -> ModelState:
    done = loads(row["done"])
    return ModelState(
        model=row["name"].removeprefix(JOB),
        dimension=int(done["dimension"]),
        complete=bool(done.get("complete")),
        cursor=None if row["cursor"] is None else UUID(row["cursor"]),
        embedded=int(done.get("embedded", 0)),
        age_s=float(row["age_s"]),
    )
