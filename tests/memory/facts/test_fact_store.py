"""Facts below HTTP: which ones matter for a text, and which plans relied on them."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from seedcore.errors import NotFoundError
from seedcore.memory.facts.fact import FactDraft, FactFilter
from seedcore.memory.facts.fact_store import FactStore, facts_of_plan, forget_uses, record_uses
from seedcore.settings import Settings
from seedcore.stores.postgres import Database

pytestmark = pytest.mark.integration


@pytest.fixture
async def database(pg_settings: Settings) -> AsyncIterator[Database]:
    made = Database(pg_settings, size=2)
    yield made
    await made.aclose()


@pytest.fixture
def facts(database: Database) -> FactStore:
    return FactStore(database)


async def test_facts_that_share_words_with_a_text_are_relevant_the_best_match_first(facts: FactStore) -> None:
    ocr = await facts.add(FactDraft("skill:ocr", "fails on", "large scanned invoices"), "default")
    mail = await facts.add(FactDraft("skill:mail", "sends", "invoices"), "default")
    await facts.add(FactDraft("skill:echo", "returns", "what it takes"), "default")
    await facts.add(FactDraft("skill:ocr", "fails on", "large scanned invoices"), "other-tenant")
    found = await facts.relevant("Read the large scanned invoice of 3 MB", "default")
    assert [fact.id for fact in found] == [ocr.id, mail.id]
    assert await facts.relevant("the of and", "default") == []
    assert await facts.relevant("'\\ & | ! <-> :* (", "default") == []


async def test_a_fact_that_does_not_hold_any_more_is_not_relevant(facts: FactStore) -> None:
    ended = FactDraft(
        "a", "is", "slow", valid_from=datetime(2000, 1, 1, tzinfo=UTC), valid_to=datetime(2001, 1, 1, tzinfo=UTC)
    )
    old = await facts.add(ended, "default")
    assert await facts.relevant("slow", "default") == []
    assert [f.id for f in await facts.relevant("slow", "default", at=datetime(2000, 6, 1, tzinfo=UTC))] == [old.id]


async def test_a_tenant_sees_and_changes_its_own_facts_alone(facts: FactStore) -> None:
    own = await facts.add(FactDraft("a", "is", "b"), "acme")
    other = await facts.add(FactDraft("a", "is", "c"), "default")
    assert own.contradicts == other.contradicts == ()
    assert [fact.id for fact in await facts.find(FactFilter(tenant="acme"), 10)] == [own.id]
    assert len(await facts.find(FactFilter(), 10)) == 2
    for refused in (facts.get(other.id, "acme"), facts.remove(other.id, "acme")):
        with pytest.raises(NotFoundError):
            await refused
    with pytest.raises(NotFoundError):
        await facts.change(other.id, "acme", lambda fact: fact.draft)


async def test_a_plan_is_linked_to_the_facts_of_its_tenant_that_it_relied_on(
    facts: FactStore, database: Database
) -> None:
    one, two = [await facts.add(FactDraft(f"s{i}", "is", "b"), "default") for i in range(2)]
    foreign = await facts.add(FactDraft("a", "is", "b"), "acme")
    task = uuid4()
    async with database.connection() as connection:
        ids = [one.id, two.id, foreign.id, uuid4()]
        await record_uses(connection, task, ids, "default")
        await record_uses(connection, task, ids, "default")
        assert [fact.id for fact in await facts_of_plan(connection, task)] == [two.id, one.id]
        await facts.remove(one.id, None)
        assert [fact.id for fact in await facts_of_plan(connection, task)] == [two.id]
        assert await forget_uses(connection, 1.0) == 0
        assert await forget_uses(connection, -1.0) == 1
