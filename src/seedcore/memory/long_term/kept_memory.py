"""Long-term memory for the skills of one process: one pool, one store, made on first use."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from seedcore.llm.embedding.embedder import make_embedder
from seedcore.memory.long_term.items import FoundMemory, NewMemory
from seedcore.memory.long_term.store import MemoryStore
from seedcore.memory.working.kept_embedder import KeptEmbedder
from seedcore.memory.working.working_memory import WorkingMemory
from seedcore.settings import Settings
from seedcore.stores.postgres import Database


class KeptMemory:
    """What skills remember and recall with; get it by `context.clients.keep(KeptMemory)`.

    Args:
        settings: which embedder makes vectors.
        working: where vectors of queries are kept; None: nowhere.

    Attributes:
        database: its pool.
        store: the memories.
    """

    name: ClassVar[str] = "long_term_memory"

    def __init__(self, settings: Settings, working: WorkingMemory | None = None) -> None:
        self.settings = settings
        self.database = Database(settings, size=2, name="seedcore-skill-memory")
        embedder = make_embedder(settings, self.database)
        self.embedder = embedder if working is None else KeptEmbedder(embedder, working)
        self.store = MemoryStore(self.database, self.embedder)

    async def remember(
        self,
        text: str,
        tenant: str,
        scope: str,
        tags: Sequence[str],
        metadata: Mapping[str, object],
        salience: float,
        source_id: str,
    ) -> str:
        """Store a text that a skill remembers; `source_id` is its task's."""
        item = NewMemory(text, tenant, scope, tags, metadata, salience, "skill", source_id)
        [id_] = await self.store.remember([item])
        return str(id_)

    async def recall(
        self, query: str, k: int, tenant: str, scopes: Sequence[str], tags: Sequence[str]
    ) -> Sequence[FoundMemory]:
        """What a skill finds."""
        return await self.store.search(query, k, tenant=tenant, scopes=scopes, tags=tags)

    def status(self) -> Mapping[str, object]:
        """The embedder in use."""
        return {"embedder": self.embedder.name}

    async def aclose(self) -> None:
        """Close the connections."""
        await self.embedder.aclose()
        await self.database.aclose()
