"""Makes the FastAPI application of a service: problem documents, limits, API keys, health."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from fastapi.telemetry import TelemetryConfig

from seedcore import __version__
from seedcore.settings import Settings
from seedcore.stores.postgres import Database
from seedcore.web.access.access_control import AccessControl
from seedcore.web.direct_routes import DirectHandlers, DirectRoutes
from seedcore.web.guard import RequestGuard
from seedcore.web.health import HealthCheck, health_response
from seedcore.web.methods import MethodsMiddleware
from seedcore.web.problems import add_problem_handlers
from seedcore.web.request_meter import RequestMeter

_NO_TELEMETRY: TelemetryConfig = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}
"""FastAPI has spans of its own as soon as a process exports any; SeedCore's `accept tasks` says it already."""


def create_app(
    service: str,
    settings: Settings,
    health: HealthCheck,
    *,
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]] | None = None,
    direct: DirectHandlers | None = None,
    database: Callable[[], Database | None] | None = None,
) -> FastAPI:
    """An application named `service` with `GET /health`, problem documents, body limit, keys and deadline.

    `direct` answers plain requests of hot routes without the framework (`web.direct_routes`). `database` is the pool
    in which keys are looked up and the audit log is written; without one, it is a pool of one.
    """
    access = AccessControl(service, settings, database)

    @asynccontextmanager
    async def with_access(app: FastAPI) -> AsyncIterator[None]:
        async with (lifespan or _nothing)(app):
            try:
                yield
            finally:
                await access.aclose()

    app = FastAPI(title=f"SeedCore {service}", version=__version__, lifespan=with_access, telemetry=_NO_TELEMETRY)
    app.state.access = access
    add_problem_handlers(app)
    app.add_middleware(MethodsMiddleware)
    if direct:
        app.add_middleware(DirectRoutes, handlers=direct)
    app.add_middleware(RequestGuard, settings=settings, access=access)
    app.add_middleware(RequestMeter, name=service)

    @app.get("/health", tags=["health"])
    async def get_health() -> JSONResponse:
        """Whether this service can do its work, and what it depends on."""
        return await health_response(service, health)

    return app


@asynccontextmanager
async def _nothing(_app: FastAPI) -> AsyncIterator[None]:
    yield
