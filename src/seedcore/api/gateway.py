"""The state that the gateway's routes share: database, event feed, submission, skills."""

import asyncio
from collections.abc import Mapping
from typing import Annotated

from fastapi import Depends, Request

from seedcore.graph import outbox
from seedcore.llm.embedding.embedder import make_embedder
from seedcore.memory.facts.fact_store import FactStore
from seedcore.memory.long_term.store import MemoryStore
from seedcore.memory.working.kept_embedder import KeptEmbedder
from seedcore.memory.working.working_memory import WorkingMemory
from seedcore.settings import Settings
from seedcore.skills.registry import SkillRegistry
from seedcore.stores.metric_series import MetricSeriesWriter
from seedcore.stores.postgres import DATABASE_ERRORS, Database
from seedcore.tasks.events.task_feed import EventFeed
from seedcore.tasks.model import DEFAULT_QUEUE
from seedcore.tasks.submission.published_settings import Publisher
from seedcore.tasks.submission.validate import Submission
from seedcore.telemetry.metrics.metric_export import MetricExport, RunningExport
from seedcore.utils.metrics.ray_metrics import ray_sinks


class Gateway:
    """The state of one gateway process. It needs PostgreSQL, and works while Ray is down."""

    def __init__(self, settings: Settings) -> None:
        skills = SkillRegistry.load(settings)
        self.database = Database(settings, size=8, name="seedcore-gateway")
        self.facts = FactStore(self.database)
        self.working = WorkingMemory(settings)
        self._embedder = KeptEmbedder(make_embedder(settings, self.database), self.working)
        self.memory = MemoryStore(self.database, self._embedder)
        self.approvers = settings.approvers
        self.feed = EventFeed(self.database)
        self.submission = Submission(settings, skills)
        self._publisher = Publisher(self.database, skills)
        self._publishing: asyncio.Task[None] | None = None
        self._exporting: RunningExport | None = None
        self.skill_list = [
            {
                "name": spec.name,
                "organ": spec.organ,
                "queue": spec.queue or DEFAULT_QUEUE,
                "timeout_s": spec.timeout_s or settings.skill_timeout_s,
                "description": spec.description,
                "approval": spec.approval,
                "params_schema": spec.params.model_json_schema(),
                "result_schema": spec.result.model_json_schema(),
            }
            for spec in sorted(skills.values(), key=lambda spec: spec.name)
        ]

    def start(self) -> None:
        """Publish the skills to SQL as soon as the database has this version's schema."""
        self._publishing = asyncio.create_task(self._publisher.run(), name="publish-skills")
        sinks = [MetricSeriesWriter(self.database), *ray_sinks()]
        self._exporting = RunningExport(MetricExport(self.database.settings, sinks))

    async def health(self) -> Mapping[str, object]:
        """Ready when PostgreSQL answers with this version's schema, and SQL can submit as HTTP does.

        A database that cannot write makes it degraded: what is stored can be read.
        """
        postgres = await self.database.ready()
        published = postgres["ready"] and await self._publisher.attempt()
        ready = postgres["ready"] and (published or bool(postgres.get("degraded")))
        graph = await self._graph() if ready else {}
        return {
            "ready": ready,
            "postgres": postgres,
            "skills_published": published,
            "working_memory": self.working.health(),
            **graph,
        }

    async def _graph(self) -> Mapping[str, object]:
        """How far the graph is behind; its failure degrades nothing but the skills of the graph."""
        settings = self.database.settings
        try:
            async with self.database.connection(wait_s=1.0) as connection:
                state = await outbox.read_state(connection)
        except DATABASE_ERRORS as error:
            return {"graph": {"status": "unknown", "reason": f"{type(error).__name__}"}}
        return {"graph": state.health(continuous=settings.neo4j_uri is not None)}

    async def aclose(self) -> None:
        """Close connections."""
        if self._publishing is not None:
            self._publishing.cancel()
            await asyncio.gather(self._publishing, return_exceptions=True)
        if self._exporting is not None:
            await self._exporting.aclose()
        await self.feed.aclose()
        await self._embedder.aclose()
        await self.working.close()
        await self.database.aclose()


async def _gateway(request: Request) -> Gateway:
    # async: FastAPI hands a plain function to a thread, at every request.
    gateway: Gateway = request.app.state.gateway
    return gateway


GatewayDep = Annotated[Gateway, Depends(_gateway)]
"""The gateway of this process, as a dependency of routes."""
