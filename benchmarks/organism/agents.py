"""Agents of one host, without Ray: activation, memory, and how many can be addressed."""

import asyncio
import gc
import time
import tracemalloc
from collections.abc import Sequence
from statistics import median

from benchmarks.organism.figures import Figure
from seedcore.fleet.agent_registry import AgentRegistry
from seedcore.fleet.agent_repository import AgentRepository
from seedcore.settings import Settings
from seedcore.stores.postgres import Database

AGENTS, BATCH = 10_000, 100
ADDRESSABLE = 100_000
TYPES = ("echo", "text.keywords", "http.fetch")
ROLES = {"reader": 2.0, "writer": 1.0, "seeker": 1.0}


def measure(settings: Settings, rounds: int) -> list[Figure]:
    """10,000 agents that have learned three task types: read back in batches of 100."""
    return asyncio.run(_measure(settings, rounds))


async def _measure(settings: Settings, rounds: int) -> list[Figure]:
    database = Database(settings, size=1)
    store = AgentRepository(database)
    ids = [f"bench-{n:05d}" for n in range(AGENTS)]
    try:
        await _fill(store, ids)
        activation = [(await _activate(store, ids))[0] for _ in range(rounds)]
        memory = [await _memory(store, ids) for _ in range(rounds)]
        return [
            Figure("activation of an agent, in batches of 100, p50", "µs", activation, 100),
            Figure("memory of an idle agent", "bytes", memory, 4096),
            await _address(settings, store),
        ]
    finally:
        await database.aclose()


async def _fill(store: AgentRepository, ids: Sequence[str]) -> None:
    book = AgentRegistry("bench", role_weights=ROLES, capacity=len(ids))
    for agent in ids:
        for n, kind in enumerate(TYPES * 2):
            book.record_outcome(agent, kind, 0.01 * n, ok=n != 3, role="reader")
    await store.save("bench", book)


async def _activate(store: AgentRepository, ids: Sequence[str]) -> tuple[float, AgentRegistry]:
    """Median over the batches, in microseconds an agent, from the naming of the ids to their memory; and the book."""
    book, took = AgentRegistry("bench", role_weights=ROLES, capacity=ADDRESSABLE), []
    for start in range(0, len(ids), BATCH):
        batch = ids[start : start + BATCH]
        began = time.perf_counter()
        book.activate(batch)
        await store.restore(book)
        took.append((time.perf_counter() - began) / len(batch) * 1e6)
    last = book.agents[ids[-1]]
    assert (len(book.agents), last.completed + last.failed) == (len(ids), len(TYPES) * 2)
    return median(took), book


async def _memory(store: AgentRepository, ids: Sequence[str]) -> float:
    """Bytes of an active agent without work, its place in the book and its id included, as Python allocates them."""
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        _, book = await _activate(store, [f"bench-{n:05d}" for n in range(len(ids))])
        gc.collect()
        return (tracemalloc.get_traced_memory()[0] - before) / len(book.agents)
    finally:
        tracemalloc.stop()


async def _address(settings: Settings, store: AgentRepository) -> Figure:
    """Name 100,000 agents, each with a task: all are kept, and the host's memory stays within its bound."""
    book = AgentRegistry("bench", capacity=settings.host_agents, idle_s=settings.agent_idle_s)
    most, began = 0, time.perf_counter()
    for start in range(0, ADDRESSABLE, 5000):
        named = [(f"far-{n:06d}", "echo") for n in range(start, start + 5000)]
        book.accept(named)
        for agent, kind in named:
            book.finish(agent, kind, 0.01, ok=True)
        await store.save("bench", book)
        book.sleep()
        most = max(most, len(book.agents))
    kept = len(book.agents) + book.slept
    detail = {"in_memory": most, "bound": settings.host_agents, "seconds": time.perf_counter() - began}
    return Figure("agents addressed on one host", "", [float(kept)], ADDRESSABLE, at_least=True, detail=detail)
