"""`client.memory` of both clients against the real gateway."""

import inspect

import pytest

from seedcore import errors
from seedcore.client import AsyncSeedCore, SeedCore
from seedcore.client.memories import AsyncMemories, Memories
from tests.client.conftest import Gateway


@pytest.mark.integration
async def test_texts_are_remembered_and_found(gateway: Gateway) -> None:
    async with AsyncSeedCore(gateway.url) as client:
        ids = await client.memory.remember(
            "Pump 7 leaks", {"text": "Lamps are dim", "scope": "organ:hall", "tags": ["a"]}
        )
        found = await client.memory.search("which lamp is dim?", 1)
        assert [(item.id, item.scope, item.tags) for item in found.items] == [(ids[1], "organ:hall", ["a"])]
        assert (await client.memory.search("pump", scope=["organ:hall"], tags=["b"])).items == []
        [own] = await client.memory.remember("Pump 7 leaks", tenant="acme")
        assert [item.id for item in (await client.memory.search("pump", tenant="acme")).items] == [own]


@pytest.mark.integration
def test_the_sync_client_remembers_too(gateway: Gateway) -> None:
    with SeedCore(gateway.url) as client:
        [id_] = client.memory.remember("Doors stick in winter")
        assert client.memory.remember("Doors stick in winter") == [id_]
        assert client.memory.search("winter doors", 1).items[0].id == id_
        with pytest.raises(errors.InvalidInputError, match=r"items\.0\.scope"):
            client.memory.remember({"text": "a", "scope": "x"})


def test_both_clients_have_the_same_words_for_memory() -> None:
    def public(kind: type) -> dict[str, list[str]]:
        members = inspect.getmembers(kind, inspect.isfunction)
        return {name: [*inspect.signature(member).parameters] for name, member in members if name[0] != "_"}

    assert public(Memories) == public(AsyncMemories)
