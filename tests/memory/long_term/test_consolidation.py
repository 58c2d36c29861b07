import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedcore.memory.long_term.consolidation import Consolidation, group_alike
from seedcore.memory.long_term.items import NewMemory
from seedcore.memory.long_term.store import NO_PGVECTOR, MemoryStore
from seedcore.stores.postgres import Database

MODEL = "wordllama-l2-supercat-256"


def consolidation(database: Database, store: MemoryStore, max_loss: float = 0.15) -> Consolidation:
    return Consolidation(database, store, MODEL, 0.0, max_loss)


async def rows(database: Database) -> list[dict]:
    async with database.connection() as connection:
        found = await connection.fetch(
            "select text, source, seen, tags, metadata->>'consolidated' as n from seedcore.memories"
        )
    return [dict(row) for row in found]


async def test_many_that_are_alike_become_one_and_the_loss_is_stated(store: MemoryStore, database: Database) -> None:
    alike = [f"The web server on host {n} ran out of connections" for n in range(12)]
    await store.remember(
        [NewMemory(text, source="failure", tags=["web", f"host-{text[23:25].strip()}"]) for text in alike]
    )
    await store.remember([NewMemory("Invoices were sent twice to a customer", source="failure")])
    report = await consolidation(database, store, max_loss=0.4).run()
    assert (report.scanned, report.groups, report.removed) == (13, 1, 11)
    assert 0 < report.loss <= report.worst <= 0.4
    assert 0 < report.words_lost < 1
    assert report.sampled == 1
    assert (report.found_before, report.found_after) == (1.0, 1.0)
    [summary] = [row for row in await rows(database) if row["source"] == "consolidation"]
    assert summary["text"] in alike
    assert (summary["n"], summary["seen"]) == ("12", 12)
    assert "web" in summary["tags"]
    assert len(await rows(database)) == 2
    [found, *_] = await store.search("out of connections on a host")
    assert found.metadata["loss"] > 0


async def test_tenants_and_sources_are_never_mixed(store: MemoryStore, database: Database) -> None:
    for n in range(2):
        for tenant, source in (("a", "plan"), ("b", "plan"), ("a", "skill")):
            await store.remember([NewMemory(f"The lamp {n} is broken", tenant, source=source)])
    report = await consolidation(database, store, max_loss=1.0).run()
    assert (report.groups, report.removed) == (0, 0)
    assert len(await rows(database)) == 6


async def test_without_vectors_nothing_is_compared_and_the_report_says_so(
    store: MemoryStore, database: Database
) -> None:
    async with database.connection() as connection:
        await connection.execute("drop table seedcore.memory_vectors")
    assert (await consolidation(database, store).run()).fallback == NO_PGVECTOR


async def test_a_second_run_changes_nothing(store: MemoryStore, database: Database) -> None:
    await store.remember([NewMemory(f"The lamp {n} is broken") for n in range(5)])
    assert (await consolidation(database, store).run()).removed == 4
    before = await rows(database)
    assert (await consolidation(database, store).run()).removed == 0
    assert await rows(database) == before


async def test_what_is_young_stays_as_it_is(store: MemoryStore, database: Database) -> None:
    await store.remember([NewMemory(f"The lamp {n} is broken") for n in range(5)])
    report = await Consolidation(database, store, MODEL, 1.0, 0.15).run()
    assert (report.scanned, report.removed, report.found_after) == (0, 0, None)


@given(
    st.integers(0, 40).flatmap(
        lambda n: st.tuples(
            st.lists(st.lists(st.floats(-1, 1, width=32), min_size=3, max_size=3), min_size=n, max_size=n),
            st.lists(st.floats(0, 1), min_size=n, max_size=n),
        )
    ),
    st.floats(0, 0.9),
)
def test_no_member_is_further_from_the_one_that_stays_than_allowed(given_: tuple, max_loss: float) -> None:
    raw, salience = given_
    vectors = np.asarray(raw, dtype=np.float32).reshape(-1, 3)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = np.where(lengths > 1e-3, vectors / np.where(lengths > 1e-3, lengths, 1), [[1.0, 0, 0]]).astype(np.float32)
    groups = group_alike(vectors, salience, max_loss)
    seen: set[int] = set()
    for group in groups:
        assert len(group.members) >= 3
        assert group.kept in group.members
        assert group.losses.max() <= max_loss
        assert np.allclose(group.losses, 1 - vectors[group.members] @ vectors[group.kept], atol=1e-5)
        assert seen.isdisjoint(group.members.tolist())
        seen |= set(group.members.tolist())


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_memories_are_no_group(n: int) -> None:
    assert group_alike(np.ones((n, 1), dtype=np.float32), [0.5] * n, 0.1) == []
