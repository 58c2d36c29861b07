from collections.abc import AsyncIterator, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from seedcore.errors import DeadlineError, SeedCoreError, UnavailableError
from seedcore.llm.embedding.embedder import make_embedder
from seedcore.llm.model_errors import BudgetExceededError, ModelAnswerError
from seedcore.memory.long_term.items import NewMemory
from seedcore.memory.long_term.store import NO_EMBEDDER, NO_PGVECTOR, MemoryStore
from seedcore.settings import Settings
from seedcore.stores.postgres import ENGINE_SESSION, Database

TEXTS = [
    "The database refuses connections because its pool is full.",
    "Paint for the garden fence is sold on Saturdays.",
    "Invoices of March were sent twice to the customer ACME-4711.",
]


class Broken:
    """An embedder whose endpoint fails."""

    name, dimension = "broken", 256

    def __init__(self, error: SeedCoreError) -> None:
        self.error = error

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        raise self.error

    async def aclose(self) -> None:
        """Nothing is open."""


@pytest.fixture
async def database(pg_settings: Settings) -> AsyncIterator[Database]:
    # As a worker has it: with plans forbidden that a search needs.
    database = Database(pg_settings, session=ENGINE_SESSION)
    yield database
    await database.aclose()


@pytest.fixture
def store(database: Database) -> MemoryStore:
    return MemoryStore(database, make_embedder(database.settings))


def memories(*texts: str, **fields: object) -> list[NewMemory]:
    return [NewMemory(text, **fields) for text in texts]  # type: ignore[arg-type]


async def test_a_memory_is_found_by_its_meaning_and_by_its_words(store: MemoryStore) -> None:
    ids = await store.remember(memories(*TEXTS))
    [by_meaning, *_] = await store.search("PostgreSQL has no connection slots left")
    assert by_meaning.id == ids[0]
    assert by_meaning.scores["vector"] > 0.2
    [by_words, *_] = await store.search("4711", 1)
    assert (by_words.id, by_words.text) == (ids[2], TEXTS[2])
    assert by_words.scores["text"] > 0


async def test_what_was_remembered_is_found_by_the_next_search(store: MemoryStore) -> None:
    for n in range(20):
        [id_] = await store.remember(memories(f"The {n}th lamp in hall {n * 7} is broken"))
        assert (await store.search(f"lamp {n}th hall {n * 7}", 1))[0].id == id_


async def test_tenants_never_see_each_others_memories(store: MemoryStore) -> None:
    await store.remember(memories(TEXTS[0], tenant="acme"))
    assert await store.search(TEXTS[0], tenant="other") == []
    assert await store.search(TEXTS[0]) == []
    assert len(await store.search(TEXTS[0], tenant="acme")) == 1


async def test_a_search_looks_in_the_scopes_and_for_the_tags_that_it_names(store: MemoryStore) -> None:
    await store.remember(memories(TEXTS[0], scope="domain:web", tags=["b", "a", "a"]))
    await store.remember(memories(TEXTS[0]))
    scopes = [found.scope for found in await store.search(TEXTS[0])]
    assert sorted(scopes) == ["all", "domain:web"]
    [found] = await store.search(TEXTS[0], scopes=["domain:web", "agent:x"])
    assert (found.scope, found.tags) == ("domain:web", ("a", "b"))
    assert len(await store.search(TEXTS[0], tags=["b"])) == 1
    assert await store.search(TEXTS[0], tags=["b", "c"]) == []


async def test_a_source_cannot_change_what_another_one_remembers(store: MemoryStore) -> None:
    plan, api = memories(TEXTS[0], source="plan", metadata={"a": 1}), memories(TEXTS[0], metadata={"a": 2})
    [first] = await store.remember(plan)
    [second] = await store.remember(api)
    assert first != second
    assert {found.id: found.metadata["a"] for found in await store.search(TEXTS[0])} == {first: 1, second: 2}


async def test_the_same_text_in_the_same_scope_is_one_memory(store: MemoryStore, database: Database) -> None:
    first, second = await store.remember(memories(TEXTS[0], f"  {TEXTS[0].upper()} "))
    [third] = await store.remember(memories(TEXTS[0], tags=["seen"], salience=0.9))
    [other] = await store.remember(memories(TEXTS[0], tenant="other"))
    assert first == second == third != other
    [found] = await store.search(TEXTS[0])
    assert (found.tags, round(found.salience, 3)) == (("seen",), 0.9)
    async with database.connection() as connection:
        assert await connection.fetchval("select seen from seedcore.memories where id = $1", first) == 2
    assert len(await store.search(TEXTS[0], tags=["seen"])) == 1


async def test_what_replaces_a_memory_takes_its_place(store: MemoryStore) -> None:
    await store.remember(memories("lamp is red", source="fact", source_id="1"))
    await store.remember(memories("lamp is blue", source="fact", source_id="2"))
    await store.remember(memories("lamp is green", source="fact", source_id="1", replaces=True))
    assert {found.text for found in await store.search("lamp")} == {"lamp is green", "lamp is blue"}


async def test_secrets_are_not_remembered(store: MemoryStore) -> None:
    text = "log in at postgres://bob:hunter2@db/x with password: swordfish, key sk-abcdefghijklmnopqrstuv"
    metadata = {"api_key": "topsecret", "note": ["token=1", "Bearer abcdef"]}
    await store.remember(memories(text, metadata=metadata))
    [found] = await store.search("log in")
    shown = f"{found.text} {found.metadata}"
    assert "postgres://bob:***@db/x" in shown
    assert not [secret for secret in ("hunter2", "swordfish", "sk-abc", "topsecret", "abcdef") if secret in shown]


async def test_without_an_embedder_words_are_found_and_the_answer_says_so(database: Database) -> None:
    errors = UnavailableError("away"), ModelAnswerError("no"), BudgetExceededError("over"), DeadlineError("late")
    for store in (MemoryStore(database, None), *(MemoryStore(database, Broken(error)) for error in errors)):
        kept = await store.keep(memories(TEXTS[2]))
        assert kept.fallback == NO_EMBEDDER
        found = await store.find("customer 4711")
        assert (found.items[0].id, found.fallback) == (kept.ids[0], NO_EMBEDDER)
        assert set(found.items[0].scores) == {"text"}


async def test_without_pgvector_words_are_found_and_the_answer_says_so(store: MemoryStore, database: Database) -> None:
    async with database.connection() as connection:
        await connection.execute("drop table seedcore.memory_vectors")
    await store.remember(memories(*TEXTS))
    found = await store.find("invoices of March")
    assert (found.items[0].text, found.fallback) == (TEXTS[2], NO_PGVECTOR)


async def test_any_text_may_be_searched_for(store: MemoryStore) -> None:
    await store.remember(memories(*TEXTS))
    for query in ("of the and", "a & b | !c:*", "' \\ (", "数据库 连接", "😀", "%_", "x" * 8192):
        [id_] = await store.remember(memories(query))
        assert id_ in [found.id for found in await store.search(query, 2)]


async def test_a_vector_of_another_size_is_no_error(database: Database) -> None:
    class Short(Broken):
        name, dimension = "short", 3

        async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
            return np.eye(3, dtype=np.float32)[[len(text) % 3 for text in texts]]

    store = MemoryStore(database, Short(UnavailableError("not raised")))
    [id_] = await store.remember(memories("abc"))
    assert (await store.search("xyz"))[0].id == id_


async def test_a_dimension_has_an_index_of_its_own(database: Database) -> None:
    async with database.connection() as connection:
        found = await connection.fetchval("select indexdef from pg_indexes where indexname = 'memory_vectors_256'")
    assert "hnsw" in found
    assert "(dimension = 256)" in found


async def test_a_query_of_a_thousand_words_is_answered(store: MemoryStore) -> None:
    await store.remember(memories(*TEXTS))
    query = " ".join(f"word{n}" for n in range(800)) + " invoices"
    assert len(await store.search(query[:8192], 3)) == 3
