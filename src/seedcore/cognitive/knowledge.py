"""What memory and facts say about a text, as evidence that answers cite by id."""

from collections.abc import Sequence
from dataclasses import dataclass

from seedcore.errors import SeedCoreError
from seedcore.memory.facts.fact_store import FactStore
from seedcore.memory.long_term.items import FoundMemory
from seedcore.memory.long_term.store import MemorySearch, MemoryStore
from seedcore.schemas.cognitive.engine_answer import EvidenceOut
from seedcore.stores.postgres import DATABASE_ERRORS
from seedcore.telemetry.logs import get_logger
from seedcore.telemetry.metrics import counter
from seedcore.utils.pg_json import unfit

MAX_QUERY = 2000
WITHOUT_MEMORY = "answer_without_memory"
"""Memory or facts cannot be read, and the answer rests on neither."""


@dataclass(frozen=True, slots=True)
class Recalled:
    """What was found; `fallback` names what it was found without, such as vectors, or memory as a whole."""

    memories: list[FoundMemory]
    facts: list[EvidenceOut]
    fallback: str | None = None

    @property
    def evidence(self) -> list[EvidenceOut]:
        """Facts first, then memories by score."""
        return [*self.facts, *(memory_evidence(memory) for memory in self.memories)]


class Knowledge:
    """Reads long-term memory and facts of one tenant at a time. Answers go on without them, and say so."""

    def __init__(self, memories: MemoryStore, facts: FactStore) -> None:
        self._memories, self._facts = memories, facts
        self._log = get_logger("seedcore.cognitive.knowledge")

    async def recall(self, text: str, tenant: str, k: int = 6) -> Recalled:
        """What may help with `text`; it never fails, because no answer depends on it alone."""
        query = searchable(text)
        if not query:
            return Recalled([], [])
        try:
            found = await self._memories.find(query, k, tenant=tenant)
            facts = await self._facts.relevant(query, tenant, k)
        except (SeedCoreError, *DATABASE_ERRORS) as error:
            self._log.warning("memory cannot be read, answering without it", reason=str(error)[:300])
            counter("seedcore_fallbacks_total").add(1, fallback=WITHOUT_MEMORY)
            return Recalled([], [], WITHOUT_MEMORY)
        evidence = [EvidenceOut(kind="fact", id=str(fact.id), text=fact.text, score=None) for fact in facts]
        return Recalled(found.items, evidence, found.fallback)

    async def search(self, query: str, k: int, tenant: str, scopes: Sequence[str], tags: Sequence[str]) -> MemorySearch:
        """Memories alone.

        Raises:
            InvalidInputError: a scope or tag cannot be one.
            UnavailableError: memory cannot be read.
        """
        return await self._memories.find(query, k, tenant=tenant, scopes=scopes or None, tags=tags)


def searchable(text: str) -> str:
    """A text that can be searched for: bounded, and without what PostgreSQL cannot hold."""
    short = text[:MAX_QUERY].replace("\0", " ").encode("utf-8", "ignore").decode()
    return short if short.strip() and unfit(short) is None else ""


def memory_evidence(memory: FoundMemory) -> EvidenceOut:
    """A memory as evidence."""
    return EvidenceOut(kind="memory", id=str(memory.id), text=memory.text[:1000], score=memory.score)
