"""`client.facts` of both clients against the real gateway."""

import inspect
from datetime import UTC, datetime

import pytest

from seedcore import errors
from seedcore.client import AsyncSeedCore, SeedCore
from seedcore.client.facts import AsyncFacts, Facts
from tests.client.conftest import Gateway


@pytest.mark.integration
async def test_facts_are_kept_found_changed_and_removed(gateway: Gateway) -> None:
    async with AsyncSeedCore(gateway.url) as client:
        made = [await client.facts.add(f"s{n}", "is", "red", tags=["a", "b"], source="Ada") for n in range(5)]
        other = await client.facts.add("s0", "is", "blue", valid_from=datetime(2020, 1, 1, tzinfo=UTC), tenant="acme")
        assert (other.tenant, other.contradicts, made[0].text) == ("acme", [], "s0 is red")
        found = [fact async for fact in client.facts.find(tags=["a", "b"], tenant="default", page_size=2, limit=4)]
        assert [fact.id for fact in found] == [fact.id for fact in made[:0:-1]]
        at = datetime(2020, 6, 1, tzinfo=UTC)
        assert [fact.id async for fact in client.facts.find(at=at, q="blue")] == [other.id]
        changed = await client.facts.change(other.id, object="green", tags=["c"])
        assert (changed.text, changed.tags, changed.valid_from) == ("s0 is green", ["c"], other.valid_from)
        assert await client.facts.get(str(other.id)) == changed
        await client.facts.remove(other.id)
        with pytest.raises(errors.NotFoundError):
            await client.facts.remove(other.id)


@pytest.mark.integration
def test_the_sync_client_does_the_same(gateway: Gateway) -> None:
    with SeedCore(gateway.url) as client:
        made = client.facts.add("a", "is", "b", text="in my words")
        assert [fact.id for fact in client.facts.find(q="words")] == [made.id]
        assert client.facts.change(made.id, text=None).text == "a is b"
        client.facts.remove(made.id)
        assert list(client.facts.find()) == []
        with pytest.raises(errors.InvalidInputError, match="valid_to"):
            client.facts.add("a", "is", "b", valid_to=datetime(2000, 1, 1, tzinfo=UTC))
        with pytest.raises(errors.InvalidInputError, match="fact_id"):
            client.facts.get("x")


def test_both_clients_have_the_same_words_for_facts() -> None:
    def public(kind: type) -> dict[str, list[str]]:
        members = inspect.getmembers(kind, inspect.isfunction)
        return {name: [*inspect.signature(member).parameters] for name, member in members if name[0] != "_"}

    assert public(Facts) == public(AsyncFacts)
