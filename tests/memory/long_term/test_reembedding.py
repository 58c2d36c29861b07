"""Another embedder takes the place of the one before, while searches go on."""

import zlib
from collections.abc import AsyncIterator, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from seedcore.errors import UnavailableError
from seedcore.llm.embedding import embedder as embedders
from seedcore.llm.embedding.word_embedder import WordEmbedder
from seedcore.memory.long_term import reembedding, replaced_embedder
from seedcore.memory.long_term.items import NewMemory
from seedcore.memory.long_term.reembedding import Reembedding, model_states
from seedcore.memory.long_term.replaced_embedder import BEING_EMBEDDED
from seedcore.memory.long_term.store import MemoryStore
from seedcore.settings import Settings
from seedcore.stores.postgres import Database

TEXTS = [f"shelf {number} holds {thing}" for number in range(10) for thing in ("lamps", "paint", "invoices")]


class Hashed:
    """An embedder of another dimension, with vectors by the hash of the text; it fails after `last` texts."""

    name, dimension = "hashed-32", 32

    def __init__(self, last: int | None = None) -> None:
        self.last, self.embedded = last, 0

    async def aclose(self) -> None:
        """Nothing is open."""

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.embedded += len(texts)
        if self.last is not None and self.embedded > self.last:
            raise UnavailableError("no answer")
        rows = [np.random.default_rng(zlib.crc32(text.encode())).normal(size=32) for text in texts]
        vectors = np.array(rows, dtype=np.float32).reshape(len(texts), 32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class Unknown(Hashed):
    name = "unknown-32"


@pytest.fixture
async def database(pg_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Database]:
    monkeypatch.setattr(reembedding, "PAGE", 7)
    monkeypatch.setattr(reembedding, "DELETE_PAGE", 7)
    monkeypatch.setattr(replaced_embedder, "LOOK_AGAIN_S", 0.0)
    database = Database(pg_settings)
    yield database
    await database.aclose()


async def vectors_of(database: Database) -> dict[str, int]:
    async with database.connection() as connection:
        rows = await connection.fetch("select model, count(*) as n from seedcore.memory_vectors group by model")
    return {row["model"]: row["n"] for row in rows}


async def remembered(database: Database, embedder: WordEmbedder | Hashed) -> MemoryStore:
    store = MemoryStore(database, embedder)
    await store.remember([NewMemory(text, scope="domain:stock", tags=("shelf",)) for text in TEXTS])
    return store


async def test_every_memory_gets_a_vector_of_the_new_embedder_and_loses_the_old_one(database: Database) -> None:
    await remembered(database, WordEmbedder())
    await Reembedding(database, WordEmbedder()).run()
    done = await Reembedding(database, Hashed()).run()
    assert (done.model, done.embedded, done.deleted) == ("hashed-32", len(TEXTS), len(TEXTS))
    assert await vectors_of(database) == {"hashed-32": len(TEXTS)}
    found = await MemoryStore(database, Hashed()).find(TEXTS[4], 1, scopes=["domain:stock"], tags=["shelf"])
    assert found.fallback is None
    assert found.items[0].text == TEXTS[4]
    assert found.items[0].scores["vector"] > 0.99


async def test_a_run_that_is_cut_off_goes_on_where_it_was(database: Database) -> None:
    await remembered(database, WordEmbedder())
    with pytest.raises(UnavailableError):
        await Reembedding(database, Hashed(last=20)).run()
    assert await vectors_of(database) == {WordEmbedder.name: len(TEXTS), "hashed-32": 14}
    embedder = Hashed()
    assert (await Reembedding(database, embedder).run()).embedded == len(TEXTS) - 14
    assert embedder.embedded == len(TEXTS) - 14


async def test_while_it_runs_a_search_finds_old_memories_and_new_ones(database: Database) -> None:
    await remembered(database, WordEmbedder())
    await Reembedding(database, WordEmbedder()).run()
    with pytest.raises(UnavailableError):
        await Reembedding(database, Hashed(last=7)).run()
    store = MemoryStore(database, Hashed())
    [late] = await store.remember([NewMemory("a new thing")])
    # By meaning alone: the query shares no word with the memory.
    old = await store.find("lighting", 10)
    assert old.fallback is None
    assert any("lamps" in item.text for item in old.items[:2])
    new = await store.find("a new thing", 1)
    assert new.items[0].id == late
    assert new.items[0].scores["vector"] > 0.99


async def test_without_the_old_embedder_words_find_the_rest_and_the_search_says_so(database: Database) -> None:
    await remembered(database, Unknown())
    await Reembedding(database, Unknown()).run()
    store = MemoryStore(database, WordEmbedder())
    found = await store.find("paint", 3)
    assert found.fallback == BEING_EMBEDDED
    assert all("paint" in item.text for item in found.items)
    await Reembedding(database, WordEmbedder()).run()
    assert (await store.find("paint", 3)).fallback is None


async def test_an_old_embedder_that_fails_is_done_without(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    await remembered(database, Unknown())
    await Reembedding(database, Unknown()).run()
    monkeypatch.setattr(embedders, "embedder_in_process", lambda name: Unknown(last=0))
    found = await MemoryStore(database, WordEmbedder()).find("paint", 3)
    assert found.fallback == BEING_EMBEDDED
    assert all("paint" in item.text for item in found.items)


async def test_memories_that_were_stored_without_a_vector_get_one(database: Database) -> None:
    await MemoryStore(database, Hashed(last=0)).remember([NewMemory(text) for text in TEXTS])
    assert await vectors_of(database) == {}
    await Reembedding(database, WordEmbedder()).run_when_due()
    assert await vectors_of(database) == {WordEmbedder.name: len(TEXTS)}


async def test_a_round_does_nothing_once_every_memory_has_a_vector(database: Database) -> None:
    await remembered(database, WordEmbedder())
    job = Reembedding(database, WordEmbedder())
    await job.run_when_due()
    async with database.connection() as connection:
        [state] = await model_states(connection)
        assert (state.complete, state.cursor, state.dimension) == (True, None, 256)
        await connection.execute("delete from seedcore.memory_vectors")
    await job.run_when_due()
    assert await vectors_of(database) == {}
    await job.run()
    assert await vectors_of(database) == {WordEmbedder.name: len(TEXTS)}
