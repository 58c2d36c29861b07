"""Builds the gateway's application, for Ray Serve and for `python -m seedcore.api`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.responses import JSONResponse, RedirectResponse

from seedcore.api import (
    dead_letter_routes,
    event_log_routes,
    limit_routes,
    schedule_routes,
    task_events,
    task_routes,
)
from seedcore.api.direct_submit import direct_submit
from seedcore.api.gateway import Gateway
from seedcore.api.knowledge import fact_routes, memory_routes
from seedcore.api.operators import audit_routes, key_routes, metrics_routes, tenant_routes
from seedcore.settings import Settings
from seedcore.web.app_factory import create_app
from seedcore.web.health import health_response

ROUTES = (
    task_routes,
    task_events,
    event_log_routes,
    dead_letter_routes,
    limit_routes,
    schedule_routes,
    fact_routes,
    memory_routes,
    key_routes,
    audit_routes,
    tenant_routes,
    metrics_routes,
)


def build_app(settings: Settings) -> FastAPI:
    """The gateway's application; its paths are the same under Ray Serve and on their own."""
    gateway = Gateway(settings)
    metrics = metrics_routes.MetricsPage(gateway)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        gateway.start()
        yield
        await metrics.stores.aclose()
        await gateway.aclose()

    direct = {"/api/v1/tasks": direct_submit(gateway)}
    app = create_app(
        "gateway", settings, gateway.health, lifespan=lifespan, direct=direct, database=lambda: gateway.database
    )
    app.state.gateway, app.state.metrics = gateway, metrics
    for routes in ROUTES:
        app.include_router(routes.router)

    @app.get("/api/v1/health", tags=["health"])
    @app.get("/readyz", tags=["health"])
    async def get_health() -> JSONResponse:
        """The same as `GET /health`."""
        return await health_response("gateway", gateway.health)

    @app.get("/", include_in_schema=False)
    async def root() -> RedirectResponse:
        return RedirectResponse("/docs")

    return app
