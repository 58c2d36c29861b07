"""What skills remember and recall, through the clients that a host gives them."""

import logging

import pytest

from seedcore.memory.long_term.kept_memory import KeptMemory
from seedcore.memory.skills import Consolidate, Reembed, memory_consolidate, memory_reembed
from seedcore.service_clients.skill_clients import SkillServiceClients
from seedcore.settings import Settings
from seedcore.skills import SkillContext


def context(settings: Settings, tenant: str = "acme", agent: str = "a-1") -> tuple[SkillContext, SkillServiceClients]:
    clients = SkillServiceClients(settings)
    made = SkillContext(
        "01a22cfb-049e-7d78-ac82-472011fe899e", 1, 1, "key", logging.getLogger("t"), clients, agent, tenant=tenant
    )
    return made, clients


async def test_a_skill_recalls_what_its_agent_remembers(pg_settings: Settings) -> None:
    own, clients = context(pg_settings)
    id_ = await own.remember("Port 8080 is taken on Mondays", tags=["port"], metadata={"n": 1})
    await own.remember("All lamps are dim", scope="all", salience=0.9)
    [found, *_] = await own.recall("which port is taken?")
    assert (str(found.id), found.text, found.metadata) == (id_, "Port 8080 is taken on Mondays", {"n": 1})
    assert (found.source, found.source_id, found.scope) == ("skill", own.task_id, "agent:a-1")
    await clients.aclose()
    other, clients = context(pg_settings, agent="a-2")
    assert [memory.text for memory in await other.recall("port taken lamps")] == ["All lamps are dim"]
    assert [memory.text for memory in await other.recall("port", scopes=["agent:a-1"], tags=["port"])] == [found.text]
    await clients.aclose()
    stranger, clients = context(pg_settings, tenant="umbra")
    assert await stranger.recall("port lamps") == []
    assert "wordllama" in str(clients.status())
    await clients.aclose()


def test_a_skill_in_a_process_is_told_that_it_has_none() -> None:
    alone = SkillContext("t", 1, 1, "key", logging.getLogger("t"))
    with pytest.raises(RuntimeError, match="process"):
        alone.recall("a").send(None)


async def test_the_skill_consolidates_and_reports_its_loss(pg_settings: Settings) -> None:
    own, clients = context(pg_settings)
    for n in range(4):
        await own.remember(f"Port 808{n} is taken on Mondays")
    done = await memory_consolidate(Consolidate(after_d=0, max_loss=0.3), own)
    assert (done.scanned, done.removed) == (4, 3)
    assert 0 < done.loss <= done.worst <= 0.3
    assert done.found_after == 1.0
    await clients.aclose()


async def test_the_skill_embeds_what_has_no_vector_of_the_embedder_in_use(pg_settings: Settings) -> None:
    own, clients = context(pg_settings)
    for n in range(3):
        await own.remember(f"Port 808{n} is taken on Mondays")
    async with clients.keep(KeptMemory).database.connection() as connection:
        await connection.execute("update seedcore.memory_vectors set model = 'earlier'")
    done = await memory_reembed(Reembed(), own)
    assert (done.model, done.embedded, done.deleted) == ("wordllama-l2-supercat-256", 3, 3)
    await clients.aclose()
