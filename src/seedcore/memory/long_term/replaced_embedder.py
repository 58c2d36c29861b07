"""Which embedder is being replaced: until every memory has a vector of the new one, a search asks both."""

import time
from typing import TYPE_CHECKING

from seedcore.memory.long_term.reembedding import ModelState, model_states
from seedcore.stores.postgres import Database
from seedcore.telemetry.metrics import counter

if TYPE_CHECKING:
    from seedcore.llm.embedding.embedder import Embedder

LOOK_AGAIN_S = 5.0
BEING_EMBEDDED = "memory_being_embedded"
"""The embedder before cannot be asked any more: what has no vector of the new one yet is found by words alone."""


class ReplacedEmbedder:
    """Knows for some seconds at a time which embedder the one in use replaces.

    Args:
        database: where the memories are.
        embedder: the one in use.
    """

    def __init__(self, database: Database, embedder: "Embedder | None") -> None:
        self._database, self._embedder = database, embedder
        self._older: Embedder | None = None
        self._unknown = False
        self._looked_at = float("-inf")

    async def find(self) -> "tuple[Embedder | None, str | None]":
        """The embedder that a search asks beside the one in use, and the name of the fallback without it.

        Raises:
            UnavailableError: the database does not answer.
        """
        if time.monotonic() - self._looked_at > LOOK_AGAIN_S:
            async with self._database.connection() as connection:
                states = await model_states(connection)
            self._looked_at = time.monotonic()
            self._note(states)
        if not self._unknown:
            return self._older, None
        counter("seedcore_fallbacks_total").add(1, fallback=BEING_EMBEDDED)
        return None, BEING_EMBEDDED

    def _note(self, states: list[ModelState]) -> None:
        from seedcore.llm.embedding.embedder import embedder_in_process

        self._older, self._unknown = None, False
        if self._embedder is None:
            return
        own = [state for state in states if state.model == self._embedder.name]
        others = sorted((state for state in states if state not in own), key=lambda state: not state.complete)
        if others and not (own and own[0].complete):
            self._older = embedder_in_process(others[0].model)
            self._unknown = self._older is None
