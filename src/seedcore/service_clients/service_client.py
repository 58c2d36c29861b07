"""Typed clients of the services: Serve handle first, HTTP second, the same methods over both."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import httpx
from pydantic import BaseModel

from seedcore import errors
from seedcore.settings import Settings, get_settings
from seedcore.telemetry.logs import get_logger


@dataclass(slots=True)
class TransportCounts:
    """How often each way was taken; `fallbacks` counts calls that wanted a handle and went over HTTP."""

    handle: int = 0
    http: int = 0
    fallbacks: int = 0
    last_fallback_reason: str | None = field(default=None)


class ServiceClient:
    """Base of the clients: subclasses name the Serve application and its route prefix, and add typed methods."""

    app: ClassVar[str]
    prefix: ClassVar[str]

    def __init__(self, settings: Settings | None = None, *, timeout_s: float = 60.0) -> None:
        self.settings = settings or get_settings()
        self.timeout_s = timeout_s
        self.counts = TransportCounts()
        self._handle: Any = None
        self._http: httpx.AsyncClient | None = None
        self._log = get_logger("seedcore.clients", app=self.app)

    async def call(self, method: str, path: str, payload: BaseModel | Mapping[str, Any] | None = None) -> Any:
        """Do the operation `path`; JSON in, JSON out.

        Raises:
            SeedCoreError: the error that the service raised, or UnavailableError when nothing answers.
        """
        body = payload.model_dump(mode="json") if isinstance(payload, BaseModel) else payload
        handle = await self._get_handle()
        if handle is None:
            return await self._call_http(method, path, body)
        self.counts.handle += 1
        return await self._call_handle(handle, path, body)

    async def reach(self) -> dict[str, Any]:
        """Ask for the service's health over its handle, so that the first real call finds all that it needs.

        Raises:
            UnavailableError: there is no handle yet, or nothing answers.
        """
        if reason := await self._find_handle():
            raise errors.UnavailableError(f"{self.app} cannot be reached: {reason}")
        return dict(await self._call_handle(self._handle, "/health", None))

    async def _get_handle(self) -> Any:
        """The Serve handle, or None when this process is not connected to Ray or Serve lacks the application."""
        reason = await self._find_handle()
        if reason is None:
            return self._handle
        self.counts.fallbacks += 1
        if reason != self.counts.last_fallback_reason:
            self.counts.last_fallback_reason = reason
            self._log.info("no Serve handle, HTTP instead", reason=reason)
        return None

    async def _find_handle(self) -> str | None:
        """Keep the Serve handle; why there is none, None when there is."""
        if self._handle is not None:
            return None
        try:
            import ray

            if not ray.is_initialized():
                return "this process is not connected to Ray"
            # The import takes most of a second: beside whatever else this loop does.
            self._handle = await asyncio.to_thread(_app_handle, self.app)
        except Exception as error:  # noqa: BLE001 - Serve raises several private types here; HTTP is the named fallback
            return f"{type(error).__name__}: {error}"
        return None

    async def _call_handle(self, handle: Any, path: str, body: Any) -> Any:
        from ray.exceptions import RayError, RayTaskError
        from ray.serve.exceptions import BackPressureError, RayServeException

        try:
            async with asyncio.timeout(self.timeout_s):
                return await handle.invoke.remote(path, body)
        except RayTaskError as error:
            # First, for Ray makes it an instance of its cause's class too, with the replica's traceback as its text.
            if isinstance(error.cause, errors.SeedCoreError):
                raise error.cause from None
            raise errors.UnavailableError(f"{self.app}{path} failed: {type(error.cause).__name__}") from error
        except TimeoutError:
            raise errors.DeadlineError(f"{self.app}{path} took longer than {self.timeout_s:g} s.") from None
        except BackPressureError as error:
            raise errors.OverloadedError(f"{self.app} is overloaded.", retry_after_s=1) from error
        except (RayError, RayServeException) as error:
            self._handle = None
            raise errors.UnavailableError(f"{self.app} does not answer: {type(error).__name__}") from error

    async def _call_http(self, method: str, path: str, body: Any) -> Any:
        self.counts.http += 1
        # A query knows no null: what is not given is left out.
        given = {k: v for k, v in (body or {}).items() if v is not None} if method == "GET" else None
        query = {"params": given} if method == "GET" else {"json": body}
        try:
            response = await self._get_http().request(method, f"{self.prefix}{path}", **query)
        except httpx.TimeoutException:
            raise errors.DeadlineError(f"{self.prefix}{path} took longer than {self.timeout_s:g} s.") from None
        except httpx.HTTPError as error:
            raise errors.UnavailableError(
                f"{self.settings.base_url}{self.prefix} does not answer ({type(error).__name__}). Is SeedCore running?"
            ) from error
        return unwrap(response)

    async def health(self) -> dict[str, Any]:
        """The body of the service's `GET /health`, over HTTP, whatever its status."""
        try:
            response = await self._get_http().get(f"{self.prefix}/health")
        except httpx.HTTPError as error:
            raise errors.UnavailableError(f"{self.prefix}/health does not answer ({type(error).__name__}).") from error
        try:
            return dict(response.json())
        except ValueError:
            raise errors.UnavailableError(f"{self.prefix}/health answered {response.status_code}.") from None

    def _get_http(self) -> httpx.AsyncClient:
        if self._http is None:
            keys = self.settings.api_key_list
            headers = {"Authorization": f"Bearer {keys[0]}"} if keys else {}
            self._http = httpx.AsyncClient(base_url=self.settings.base_url, headers=headers, timeout=self.timeout_s)
        return self._http

    async def aclose(self) -> None:
        """Close the HTTP connections."""
        if self._http is not None:
            await self._http.aclose()
            self._http = None


def _app_handle(app: str) -> Any:
    from ray import serve

    return serve.get_app_handle(app)


def unwrap(response: httpx.Response) -> Any:
    """The JSON of a good response; a problem document becomes the error that it stands for."""
    try:
        body = response.json()
    except ValueError:
        raise errors.UnavailableError(f"{response.url} answered {response.status_code} without JSON.") from None
    if response.is_success:
        return body
    if isinstance(body, dict) and "code" in body:
        raise errors.from_problem(body)
    raise errors.UnavailableError(f"{response.url} answered {response.status_code}.")
