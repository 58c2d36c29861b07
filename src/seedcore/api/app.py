"""The gateway as one FastAPI application, for both placements."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.responses import JSONResponse, RedirectResponse

from seedcore.api.engine_routes import router as engine_router
from seedcore.api.gateway import Gateway
from seedcore.api.schedule_routes import router as schedule_router
from seedcore.api.task_routes import router
from seedcore.settings import Settings
from seedcore.web.app_factory import create_app, health_response


def build_app(settings: Settings) -> FastAPI:
    """The gateway's application; its paths are the same under Ray Serve and on their own."""
    gateway = Gateway(settings)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        gateway.start()
        yield
        await gateway.aclose()

    app = create_app("gateway", settings, gateway.health, lifespan=lifespan)
    app.state.gateway = gateway
    app.include_router(router)
    app.include_router(engine_router)
    app.include_router(schedule_router)

    @app.get("/api/v1/health", tags=["health"])
    @app.get("/readyz", tags=["health"])
    async def get_health() -> JSONResponse:
        """The same as `GET /health`."""
        return await health_response("gateway", gateway.health)

    @app.get("/", include_in_schema=False)
    async def root() -> RedirectResponse:
        return RedirectResponse("/docs")

    return app
