"""A stand-in for SeedCore's HTTP: the real ML application, and tasks that are run as soon as they are submitted."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse

from seedcore.ml.service import MLService
from seedcore.settings import Settings
from tests.ml.support import know_aliases

Spoil = Callable[[dict[str, Any], int], None]


class StandIn:
    """What was submitted, and how to spoil it."""

    def __init__(self, settings: Settings, spoil: Spoil = lambda _task, _number: None) -> None:
        self.ml = MLService({}, settings, background=False)
        know_aliases(self.ml.parts.aliases)
        self.spoil = spoil
        self.by_key: dict[str, str] = {}
        self.tasks: dict[str, dict[str, Any]] = {}
        self.app = self._build()

    def _build(self) -> FastAPI:
        @asynccontextmanager
        async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
            await self.ml.start()
            yield

        app = FastAPI(lifespan=lifespan)
        app.mount("/ml", self.ml.build_app())

        @app.post("/api/v1/tasks/batch", status_code=201)
        async def batch(request: Request) -> dict[str, Any]:
            return {"ids": [await self._submit(task) for task in (await request.json())["tasks"]]}

        @app.get("/api/v1/tasks/{task_id}")
        async def get(task_id: str) -> JSONResponse:
            return JSONResponse(self.tasks[task_id])

        @app.get("/api/v1/tasks/{task_id}/events")
        async def events(task_id: str) -> PlainTextResponse:
            names = ["submitted", "leased", "started", *self.tasks[task_id]["ends"]]
            text = "".join(f"id: {i}\nevent: {name}\ndata: {{}}\n\n" for i, name in enumerate(names))
            return PlainTextResponse(": ping\n\n" + text, media_type="text/event-stream")

        return app

    async def _submit(self, asked: dict[str, Any]) -> str:
        key = asked["idempotency_key"]
        if key in self.by_key:
            return self.by_key[key]
        task_id = self.by_key[key] = str(uuid.uuid4())
        created = datetime.now(UTC)
        result = await self.ml.invoke("/xgboost/predict", asked["params"])
        task = {
            "id": task_id,
            "queue": asked.get("queue", "default"),
            "status": "completed",
            "result": result,
            "attempts": 1,
            "decision": {"route": "fast", "rule": "default"},
            "created_at": created.isoformat(),
            "finished_at": (created + timedelta(milliseconds=50)).isoformat(),
            "ends": ["completed"],
        }
        self.spoil(task, len(self.tasks))
        self.tasks[task_id] = task
        return task_id


class Restarting(httpx.AsyncBaseTransport):
    """A way to the stand-in on which processes keep going away: before the request, or after it was done."""

    def __init__(self, app: FastAPI, every: int) -> None:
        self.inner = httpx.ASGITransport(app)
        self.every = every
        self.count = 0
        self.lost_batches = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.count += 1
        await asyncio.sleep(0)
        if self.count % self.every == 1:
            raise httpx.ConnectError("refused", request=request)
        if self.count % self.every == 2:
            return httpx.Response(
                503, json={"detail": "starting"}, headers={"content-type": "application/problem+json"}
            )
        if self.count % self.every == 3:
            return httpx.Response(404, text="Path not found: the proxy has no routes yet")
        response = await self.inner.handle_async_request(request)
        if request.url.path.endswith("/batch") and self.lost_batches == 0:
            self.lost_batches += 1
            raise httpx.ReadError("the connection broke before the answer", request=request)
        return response
