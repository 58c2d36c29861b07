"""What answers know of memory and facts, and what they say when they cannot be read."""

from typing import Any, cast

import pytest

from seedcore.cognitive.knowledge import WITHOUT_MEMORY, Knowledge
from seedcore.errors import SeedCoreError, UnavailableError
from seedcore.memory.long_term.store import NO_PGVECTOR, MemorySearch
from tests.cognitive.engines.llm.worlds import Memories


class WordsAlone(Memories):
    async def find(self, query: str, k: int = 10, *, tenant: str = "default", **_: Any) -> MemorySearch:
        return MemorySearch(self.found[:k], NO_PGVECTOR)


class Away(Memories):
    async def find(self, query: str, k: int = 10, *, tenant: str = "default", **_: Any) -> MemorySearch:
        raise UnavailableError("no answer")


def knowledge(memories: Memories) -> Knowledge:
    return Knowledge(cast(Any, memories), cast(Any, memories))


async def test_an_answer_says_what_memory_was_searched_without() -> None:
    recalled = await knowledge(WordsAlone("The pump leaks.")).recall("pump", "default")
    assert ([item.text for item in recalled.evidence], recalled.fallback) == (["The pump leaks."], NO_PGVECTOR)
    assert (await knowledge(Memories("The pump leaks.")).recall("pump", "default")).fallback is None


async def test_an_answer_goes_on_without_memory_and_says_so() -> None:
    recalled = await knowledge(Away("The pump leaks.")).recall("pump", "default")
    assert (recalled.evidence, recalled.fallback) == ([], WITHOUT_MEMORY)


async def test_a_search_of_memory_alone_fails_when_it_cannot_be_read() -> None:
    with pytest.raises(SeedCoreError, match="no answer"):
        await knowledge(Away()).search("pump", 5, "default", [], [])
