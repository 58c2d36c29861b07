"""The base of every Serve deployment: one table of operations, answered over HTTP and over a handle alike."""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, TypeVar, get_type_hints

import orjson
from fastapi import Body, FastAPI, Query, Response
from pydantic import BaseModel, ValidationError
from pydantic_core import to_jsonable_python

from seedcore import errors
from seedcore.settings import Settings, get_settings
from seedcore.stores.metric_series import MetricSeriesWriter
from seedcore.stores.postgres import Database
from seedcore.telemetry.logs import configure_logs, get_logger
from seedcore.telemetry.metrics.metric_export import MetricExport, RunningExport
from seedcore.utils import gc_tuning
from seedcore.utils.metrics.ray_metrics import ray_sinks
from seedcore.utils.ray_utils import refuse_embedded_on_many_nodes
from seedcore.web.access.caller import CallerDep
from seedcore.web.access.request_origin import OriginDep
from seedcore.web.app_factory import create_app
from seedcore.web.problems import field_errors, unexpected

Model = TypeVar("Model", bound=BaseModel)
HEALTH = "/health"


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation of a service: `method` and `path` over HTTP, `path` alone over a Serve handle.

    `handler` takes the validated `request` model (nothing when there is none) and returns a model or JSON value, or
    JSON that is encoded already as `bytes`; `returns` is the model that such bytes hold. With `submits`, the handler
    also takes `origin` and `caller`, which it has defaults for: a handle has neither.
    """

    method: str
    path: str
    handler: Callable[..., Awaitable[object]]
    request: type[BaseModel] | None = None
    status: int = 200
    summary: str | None = None
    returns: type[BaseModel] | None = None
    submits: bool = False


class ServiceBase:
    """Base of a room's Serve deployment. A room gives `name`, `operations()` and `health()`.

    Args:
        args: the `args` of the application in the Serve config; `version` is the version of the code.
    """

    name: ClassVar[str]

    def __init__(self, args: Mapping[str, object] | None = None, settings: Settings | None = None) -> None:
        self.args = dict(args or {})
        self.settings = settings or get_settings()
        configure_logs(self.settings)
        refuse_embedded_on_many_nodes(self.settings)
        self.log = get_logger(f"seedcore.{self.name}")
        self._operations: dict[str, Operation] = {}
        for operation in self.operations():
            # Over a handle the path alone names an operation; a second method for it belongs in `extend`.
            if self._operations.setdefault(operation.path, operation) is not operation:
                raise ValueError(f"{self.name} has two operations called {operation.path!r}")

    def operations(self) -> Sequence[Operation]:
        """The operations of this service."""
        raise NotImplementedError

    async def health(self) -> Mapping[str, object]:
        """`{"ready": bool, …}` and what the service depends on."""
        raise NotImplementedError

    async def start(self) -> None:
        """Called in the replica before its first request."""

    async def stop(self) -> None:
        """Called in the replica when it is about to end."""

    def own_database(self) -> Database | None:
        """The service's own pool: keys are looked up and metrics are written through it; None: it has none."""
        return None

    def extend(self, app: FastAPI) -> None:
        """Add the routes that are not plain operations (streams, path parameters)."""

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Ray Serve calls this in the replica, after the constructor."""
        app = self.build_app()
        gc_tuning.settle()
        return app

    def build_app(self) -> FastAPI:
        """The FastAPI application of this service."""

        @asynccontextmanager
        async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
            await self.start()
            exporting = self._export_metrics()
            try:
                yield
            finally:
                await exporting.aclose()
                await self.stop()

        app = create_app(self.name, self.settings, self.health, lifespan=lifespan, database=self.own_database)
        for operation in self._operations.values():
            _add_route(app, operation)
        self.extend(app)
        return app

    def _export_metrics(self) -> RunningExport:
        database = self.own_database()
        written = [] if database is None else [MetricSeriesWriter(database)]
        return RunningExport(MetricExport(self.settings, [*written, *ray_sinks()]))

    async def invoke(self, path: str, payload: Mapping[str, object] | None = None) -> Any:
        """Run the operation `path` for a Serve handle; `payload` and the answer are JSON values.

        Raises:
            SeedCoreError: whatever HTTP would have answered with a problem document.
        """
        if path == HEALTH:
            return to_jsonable_python(await self.health())
        operation = self._operations.get(path)
        if operation is None:
            raise errors.NotFoundError(f"{self.name} has no operation {path!r}.")
        given = () if operation.request is None else (parse(operation.request, payload or {}),)
        try:
            answer = await operation.handler(*given)
        except errors.SeedCoreError:
            raise
        except Exception as error:
            self.log.error("unexpected error", operation=path, exc_info=error)
            raise unexpected(error) from None
        return orjson.loads(answer) if isinstance(answer, bytes) else to_jsonable_python(answer, by_alias=True)


def parse(kind: type[Model], payload: object) -> Model:
    """Validate `payload`, or raise InvalidInputError that names the fields."""
    try:
        return kind.model_validate(payload)
    except ValidationError as error:
        raise errors.InvalidInputError.for_fields(field_errors(error)) from None


def _add_route(app: FastAPI, operation: Operation) -> None:
    returns = get_type_hints(operation.handler).get("return")
    model = returns if inspect.isclass(returns) and issubclass(returns, BaseModel) else None

    async def endpoint(**given: object) -> object:
        request = () if operation.request is None else (given.pop("request"),)
        answer = await operation.handler(*request, **given)
        if isinstance(answer, bytes):
            return Response(answer, operation.status, media_type="application/json")
        # FastAPI encodes values without a model in its own way; callers of a handle must read the same.
        return answer if model is not None else to_jsonable_python(answer, by_alias=True)

    parameters = []
    if operation.request is not None:
        source = Query() if operation.method == "GET" else Body()
        kind = Annotated[operation.request, source]  # type: ignore[name-defined]
        parameters.append(inspect.Parameter("request", inspect.Parameter.KEYWORD_ONLY, annotation=kind))
    if operation.submits:
        for name, of in (("origin", OriginDep), ("caller", CallerDep)):
            parameters.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=of))
    endpoint.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    endpoint.__name__ = operation.path.strip("/").replace("/", "_").replace("-", "_")
    app.add_api_route(
        operation.path,
        endpoint,
        methods=[operation.method],
        response_model=model,
        responses=None if operation.returns is None else {operation.status: {"model": operation.returns}},
        status_code=operation.status,
        summary=operation.summary,
        description=inspect.getdoc(operation.handler),
    )
