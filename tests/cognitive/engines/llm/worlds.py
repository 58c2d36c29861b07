"""A Cognitive service that asks a scripted model, and memories that tests write down."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import httpx

from seedcore.cognitive.service import CognitiveService
from seedcore.memory.facts.fact import Fact
from seedcore.memory.long_term.items import FoundMemory
from seedcore.memory.long_term.store import MemorySearch
from seedcore.settings import Settings, load_settings
from tests.support.scripted_model import Answer, ScriptedModel, scripted_model


class Memories:
    """Memory with what a test put into it, in place of PostgreSQL; everything is found."""

    def __init__(self, *texts: str) -> None:
        self.found = [memory(text) for text in texts]
        self.tenants: list[str] = []

    async def find(self, query: str, k: int = 10, *, tenant: str = "default", **_: Any) -> MemorySearch:
        self.tenants.append(tenant)
        return MemorySearch(self.found[:k])

    async def relevant(self, text: str, tenant: str, k: int = 8) -> list[Fact]:
        return []


def memory(text: str, source: str = "api", vector: float = 0.5, **metadata: Any) -> FoundMemory:
    scores = {"vector": vector}
    return FoundMemory(
        uuid4(), text, 1 / 61, scores, "all", source, None, (), metadata, 0.5, datetime(2026, 1, 1, tzinfo=UTC)
    )


def model_settings(settings: Settings, model: ScriptedModel, **more: Any) -> Settings:
    return load_settings(
        data_dir=settings.data_dir,
        pg_dsn=None if settings.pg_dsn is None else settings.pg_dsn.get_secret_value(),
        llm_provider="vllm",
        llm_upstream_url=model.url,
        llm_model="scripted-1",
        llm_retries=0,
        **more,
    )


@asynccontextmanager
async def asking(
    settings: Settings, *turns: Answer, memories: Sequence[str] | Memories = (), **more: Any
) -> AsyncIterator[tuple[httpx.AsyncClient, ScriptedModel, CognitiveService]]:
    """A client of the service, the model, and the service."""
    with scripted_model(*turns) as model:
        service = CognitiveService({}, model_settings(settings, model, **more), background=False)
        await service.start()
        store = memories if isinstance(memories, Memories) else Memories(*memories)
        service._engines._offline._knowledge._memories = store  # type: ignore[assignment]
        service._engines._offline._knowledge._facts = store  # type: ignore[assignment]
        transport = httpx.ASGITransport(service.build_app())
        try:
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
                yield http, model, service
        finally:
            await service.stop()


def ids(found: Sequence[FoundMemory]) -> list[UUID]:
    return [each.id for each in found]
