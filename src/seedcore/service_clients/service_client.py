"""Base of the service clients: calls a service over its Serve handle, or over HTTP when there is no handle."""

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, TypeVar

from pydantic import BaseModel

import seedcore.llm.model_errors  # noqa: F401 - so that `from_problem` knows them
from seedcore import errors
from seedcore.settings import Settings, get_settings
from seedcore.telemetry.lean_imports import without
from seedcore.telemetry.logs import get_logger
from seedcore.telemetry.metrics import counter
from seedcore.telemetry.traces.run_trace import trace_headers
from seedcore.utils.tls.contexts import client_context

# Its command line, which it loads where it can: a tenth of a second in every process.
with without("click", "pygments", "rich"):
    import httpx

ResponseT = TypeVar("ResponseT", bound=BaseModel)


class InvokeMethod(Protocol):
    """The method `invoke` of a Serve handle."""

    def remote(self, path: str, payload: object, /) -> Awaitable[object]:
        """Run the operation `path` in a replica; see `ServiceBase.invoke`."""


class ServeHandle(Protocol):
    """A Serve handle of a service."""

    @property
    def invoke(self) -> InvokeMethod:
        """Runs an operation of the service."""


@dataclass(slots=True)
class TransportCounts:
    """Calls by transport; `fallbacks` counts those that went over HTTP because there was no handle."""

    handle: int = 0
    http: int = 0
    fallbacks: int = 0
    last_fallback_reason: str | None = field(default=None)


class ServiceClient:
    """Calls one service. Subclasses name the Serve application and its route prefix, and add typed methods."""

    app: ClassVar[str]
    prefix: ClassVar[str]

    def __init__(self, settings: Settings | None = None, *, timeout_s: float = 60.0) -> None:
        self.settings = settings or get_settings()
        self.timeout_s = timeout_s
        self.counts = TransportCounts()
        self._handle: ServeHandle | None = None
        self._http: httpx.AsyncClient | None = None
        self._log = get_logger("seedcore.clients", app=self.app)

    async def call(self, method: str, path: str, payload: BaseModel | Mapping[str, object] | None = None) -> Any:
        """Run the operation `path`; JSON in, JSON out.

        Raises:
            SeedCoreError: the error that the service raised, or UnavailableError when nothing answers.
        """
        body = payload.model_dump(mode="json") if isinstance(payload, BaseModel) else payload
        handle = await self._get_handle()
        if handle is None:
            return await self._call_http(method, path, body)
        self.counts.handle += 1
        return await self._call_handle(handle, path, body)

    async def call_model(
        self,
        returns: type[ResponseT],
        method: str,
        path: str,
        payload: BaseModel | Mapping[str, object] | None = None,
    ) -> ResponseT:
        """Run the operation `path`; its answer as a `returns`. Raises what `call` raises."""
        return returns.model_validate(await self.call(method, path, payload))

    async def reach(self) -> object:
        """Connect: get the handle and request the service's health, so that the first real call does not wait.

        Returns the health document.

        Raises:
            UnavailableError: there is no handle yet, or nothing answers.
        """
        handle = await self._find_handle()
        if isinstance(handle, str):
            raise errors.UnavailableError(f"{self.app} cannot be reached: {handle}")
        return await self._call_handle(handle, "/health", None)

    async def _get_handle(self) -> ServeHandle | None:
        """The Serve handle, or None when this process is not connected to Ray or Serve lacks the application."""
        handle = await self._find_handle()
        if not isinstance(handle, str):
            return handle
        self.counts.fallbacks += 1
        if handle != self.counts.last_fallback_reason:
            self.counts.last_fallback_reason = handle
            self._log.info("no Serve handle, falling back to HTTP", reason=handle)
        return None

    async def _find_handle(self) -> ServeHandle | str:
        """The Serve handle, or the reason why there is none."""
        if self._handle is not None:
            return self._handle
        try:
            import ray

            if not ray.is_initialized():
                return "this process is not connected to Ray"
            # Importing Serve takes most of a second, so it runs in a thread.
            self._handle = await asyncio.to_thread(_app_handle, self.app)
            return self._handle
        except Exception as error:  # noqa: BLE001 - Serve raises several private types here; HTTP is the fallback
            return f"{type(error).__name__}: {error}"

    async def _call_handle(self, handle: ServeHandle, path: str, body: object) -> object:
        from ray.exceptions import RayError, RayTaskError
        from ray.serve.exceptions import BackPressureError, RayServeException

        try:
            async with asyncio.timeout(self.timeout_s):
                return await handle.invoke.remote(path, body)
        except RayTaskError as error:
            # Caught first: Ray makes it an instance of its cause's class too, with the replica's traceback as its text.
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

    async def _call_http(self, method: str, path: str, body: Mapping[str, Any] | None) -> object:
        self.counts.http += 1
        is_get = method == "GET"
        # A query string has no null, so absent fields are left out.
        query = {name: value for name, value in (body or {}).items() if value is not None} if is_get else None
        try:
            response = await self._get_http().request(
                method, f"{self.prefix}{path}", params=query, json=None if is_get else body, headers=trace_headers()
            )
        except httpx.TimeoutException:
            raise errors.DeadlineError(f"{self.prefix}{path} took longer than {self.timeout_s:g} s.") from None
        except httpx.HTTPError as error:
            raise errors.UnavailableError(
                f"{self.settings.base_url}{self.prefix} does not answer ({type(error).__name__}). Is SeedCore running?"
            ) from error
        answer = json_of(response)
        # Not before: who waits for a service that starts takes no second-best way.
        counter("seedcore_fallbacks_total").add(1, fallback="http")
        return answer

    async def health(self) -> dict[str, object]:
        """The body of the service's `GET /health` over HTTP, whatever its status."""
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
            self._http = httpx.AsyncClient(
                base_url=self.settings.base_url,
                headers=headers,
                timeout=self.timeout_s,
                verify=client_context(self.settings) or True,
            )
        return self._http

    async def aclose(self) -> None:
        """Close the HTTP connections."""
        if self._http is not None:
            await self._http.aclose()
            self._http = None


def _app_handle(app: str) -> ServeHandle:
    from ray import serve

    handle: ServeHandle = serve.get_app_handle(app)
    return handle


def json_of(response: httpx.Response) -> object:
    """The JSON of a successful response; a problem document is raised as its error."""
    try:
        body = response.json()
    except ValueError:
        raise errors.UnavailableError(f"{response.url} answered {response.status_code} without JSON.") from None
    if response.is_success:
        return body
    if isinstance(body, dict) and "code" in body:
        raise errors.from_problem(body)
    raise errors.UnavailableError(f"{response.url} answered {response.status_code}.")
