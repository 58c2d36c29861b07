"""Answers `GET /health`: whether a service can do its work, and what it depends on."""

from collections.abc import Awaitable, Callable, Mapping

from fastapi.responses import JSONResponse

from seedcore import __version__

HealthCheck = Callable[[], Awaitable[Mapping[str, object]]]
"""Answers `{"ready": bool, …}`: what the service depends on, by name."""


async def health_response(service: str, health: HealthCheck) -> JSONResponse:
    """The body of `GET /health`: 200 when ready, `degraded` when a dependency is; 503 otherwise."""
    facts = dict(await health())
    ready = bool(facts.pop("ready"))
    degraded = any(isinstance(fact, Mapping) and fact.get("degraded") for fact in facts.values())
    status = ("degraded" if degraded else "ok") if ready else "unavailable"
    body = {"status": status, "service": service, "version": __version__, **facts}
    return JSONResponse(body, status_code=200 if ready else 503)
