"""The one way SeedCore makes a FastAPI application: problem documents, limits, keys, health."""

import asyncio
import contextlib
import hmac
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any
from urllib.parse import unquote_to_bytes

import orjson
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from seedcore import __version__, errors
from seedcore.settings import Settings
from seedcore.web.bodies import unreadable
from seedcore.web.methods import HEAD, Methods

HealthCheck = Callable[[], Awaitable[Mapping[str, Any]]]
"""Answers `{"ready": bool, …}`: what the service depends on, by name."""

OPEN_PATHS = frozenset({"/health", "/readyz", "/api/v1/health"})
"""Paths, below the application's route prefix, that need no API key."""

PROBLEM_JSON = "application/problem+json"


def create_app(
    service: str,
    settings: Settings,
    health: HealthCheck,
    *,
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]] | None = None,
) -> FastAPI:
    """An application named `service` with `GET /health`, problem documents, body limit, keys and deadline."""
    app = FastAPI(title=f"SeedCore {service}", version=__version__, lifespan=lifespan)
    app.add_exception_handler(errors.SeedCoreError, _on_seedcore_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_middleware(Methods)
    app.add_middleware(Guard, settings=settings)

    @app.get("/health", tags=["health"])
    async def get_health() -> JSONResponse:
        """Whether this service can do its work, and what it depends on."""
        return await health_response(service, health)

    return app


async def health_response(service: str, health: HealthCheck) -> JSONResponse:
    """The body of `GET /health`: 200 when ready, `degraded` when something that it depends on is; 503 otherwise."""
    facts = dict(await health())
    ready = bool(facts.pop("ready"))
    degraded = any(isinstance(fact, Mapping) and fact.get("degraded") for fact in facts.values())
    status = ("degraded" if degraded else "ok") if ready else "unavailable"
    body = {"status": status, "service": service, "version": __version__, **facts}
    return JSONResponse(body, status_code=200 if ready else 503)


class ProblemResponse(JSONResponse):
    """An RFC 9457 response, in ASCII: a field's name may hold what UTF-8 cannot write."""

    media_type = PROBLEM_JSON

    def render(self, content: Any) -> bytes:
        """The document as JSON."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


def problem_response(error: errors.SeedCoreError) -> JSONResponse:
    """An RFC 9457 response."""
    headers = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, round(error.retry_after_s)))
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    for name in ("allow", "accept_encoding"):
        if name in error.extra:
            headers[name.replace("_", "-").title()] = str(error.extra[name])
    return ProblemResponse(errors.problem(error), error.status, headers)


async def _on_seedcore_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, errors.SeedCoreError)
    return problem_response(error)


def field_errors(error: RequestValidationError | Any) -> list[errors.FieldError]:
    """The wrong fields of a pydantic or FastAPI validation error."""
    # FastAPI puts in front where the value stood: body, query, path or header.
    skip = 1 if isinstance(error, RequestValidationError) else 0
    found = errors.wrong_fields({"loc": item["loc"][skip:], "msg": item["msg"]} for item in error.errors())
    return [errors.FieldError(item.field or "(body)", item.message) for item in found]


async def _on_validation_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    for item in error.errors():
        if item["type"] == "json_invalid":
            where = f"{item['ctx']['error']} at character {item['loc'][-1]}"
            return problem_response(errors.MalformedError(f"The body is not valid JSON: {where}."))
    wrong = field_errors(error)
    detail = "; ".join(f"{e.field}: {e.message}" for e in wrong[:5])
    return problem_response(errors.InvalidInputError(detail, errors=wrong))


_BEARER = re.compile(rb"^bearer +", re.IGNORECASE)
_HTTP_CODES = {404: "not_found", 400: "malformed_request"}


async def _on_http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    # FastAPI wraps whatever reading the body raises, and so the limit's own error.
    if (known := unreadable(error.__cause__)) is not None:
        return problem_response(known)
    code = _HTTP_CODES.get(error.status_code, "http_error")
    path = request.url.path
    detail = f"There is no {path}; /docs lists what there is." if error.status_code == 404 else str(error.detail)
    body = {
        "type": f"urn:seedcore:problem:{code}",
        "title": str(error.detail),
        "status": error.status_code,
        "detail": detail,
        "code": code,
    }
    return ProblemResponse(body, error.status_code, error.headers)


class Guard:
    """ASGI middleware in front of every route: keys, body limit, deadline, no leak of an unexpected error.

    The deadline is our own: Ray Serve's proxy lets a client lift its timeout by a header. Event streams are
    excepted once they have begun to answer.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        # Without API keys the approvers' are needed only for what approvers do.
        own = settings.api_key_list
        self.keys = tuple(k.encode() for k in (*own, *settings.approvers)) if own else ()
        self.max_body = settings.max_batch_bytes
        self.timeout_s = settings.request_timeout_s
        self.log = structlog.get_logger().bind(logger="seedcore.web")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through, or answer with a problem document."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = _Begun(send)
        try:
            self._check(scope)
            async with asyncio.timeout(self.timeout_s) as deadline:
                begun.deadline = deadline
                await self.app(scope, _limited(receive, self.max_body), begun)
        except errors.SeedCoreError as error:
            await begun.answer(error, scope, receive)
        except TimeoutError as error:
            if deadline.expired():
                late = errors.DeadlineError(f"The request took longer than {self.timeout_s:g} s.")
            else:
                self.log.error("a call inside the request timed out", path=scope["path"], exc_info=error)
                late = errors.DeadlineError("Something that this request waited for did not answer in time.")
            await begun.answer(late, scope, receive)
        except Exception as error:
            self.log.error("unexpected error", path=scope["path"], exc_info=error)
            await begun.answer(hidden(error), scope, receive)

    def _check(self, scope: Scope) -> None:
        headers = {k.lower(): v for k, v in scope["headers"]}
        if self.keys and scope["path"].removeprefix(scope.get("root_path", "")) not in OPEN_PATHS:
            given = key_of(headers)
            if not any(hmac.compare_digest(given, key) for key in self.keys):
                raise errors.UnauthorizedError("Send one of SEEDCORE_API_KEYS as `Authorization: Bearer KEY`.")
        _check_text(scope)
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > self.max_body:
            raise _too_large(self.max_body)


def _check_text(scope: Scope) -> None:
    """Refuse a path or query that is not text as UTF-8 writes it, or holds U+0000: no store keeps either.

    Servers decode it with replacement characters: what is asked for would be something else than what is meant.
    """
    for where, raw in (("path", scope.get("raw_path") or b""), ("query", scope["query_string"])):
        for part in raw.split(b"&") if b"%" in raw else ():
            name, _, _ = part.partition(b"=")
            field = (
                where if where == "path" else unquote_to_bytes(name).decode(errors="replace").replace("\0", "\ufffd")
            )
            try:
                bad = "U+0000" if "\0" in unquote_to_bytes(part).decode() else None
            except UnicodeDecodeError:
                bad = "bytes that are not UTF-8"
            if bad is not None:
                raise errors.InvalidInputError(
                    f"{field}: must not hold {bad}.", errors=[errors.FieldError(field, f"must not hold {bad}")]
                )


def key_of(headers: Mapping[bytes, bytes]) -> bytes:
    """The key of a request, by its headers in small letters; empty when there is none."""
    return headers.get(b"x-api-key") or _BEARER.sub(b"", headers.get(b"authorization", b""))


def approver_of(request: Request, approvers: Mapping[str, str]) -> str | None:
    """Who sends this request, of `approvers` (names by key); None where anybody may approve.

    Raises:
        ForbiddenError: there are approvers, and its key is none of theirs.
    """
    if not approvers:
        return None
    given = key_of({name.lower(): value for name, value in request.headers.raw})
    for key, name in approvers.items():
        if hmac.compare_digest(given, key.encode()):
            return name
    raise errors.ForbiddenError("Only approvers do this: send a key of SEEDCORE_APPROVER_KEYS.")


def hidden(error: Exception) -> errors.SeedCoreError:
    """What clients are told of an error that nobody foresaw: its text may hold anything."""
    return errors.SeedCoreError(f"Unexpected {type(error).__name__}; the service's log has the details.")


def _too_large(limit: int) -> errors.TooLargeError:
    return errors.TooLargeError(f"The body is larger than {limit} bytes (SEEDCORE_MAX_BATCH_BYTES).", limit=limit)


def _limited(receive: Receive, limit: int) -> Receive:
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            raise _too_large(limit)
        return message

    return counted


class _Begun:
    """The `send` channel; it knows whether the answer has begun, and lifts the deadline of event streams."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = False
        self.deadline: asyncio.Timeout | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            kind = dict(message.get("headers", ())).get(b"content-type", b"")
            if kind.startswith(b"text/event-stream") and self.deadline is not None:
                self.deadline.reschedule(None)
        await self._send(message)

    async def answer(self, error: errors.SeedCoreError, scope: Scope, receive: Receive) -> None:
        """Send the problem document; when bytes have left already, the connection can only be cut."""
        if self.started:
            raise error
        await problem_response(error)(scope, receive, self._send)


async def sse(events: AsyncIterator[Mapping[str, Any]], *, ping_s: float = 15.0) -> AsyncGenerator[bytes]:
    """Encode `{id, event, data}` items as a server-sent event stream (WHATWG HTML §9.2), with keep-alives.

    `data` is JSON text or any JSON value.
    """
    iterator = aiter(events)
    pending: asyncio.Task[Mapping[str, Any]] | None = None
    try:
        while True:
            if pending is None:
                pending = asyncio.ensure_future(anext(iterator))
            done, _ = await asyncio.wait({pending}, timeout=ping_s)
            if not done:
                yield b": ping\n\n"
                continue
            try:
                item = pending.result()
            except StopAsyncIteration:
                return
            finally:
                pending = None
            yield _encode(item)
    finally:
        if pending is not None:
            pending.cancel()
            await asyncio.gather(pending, return_exceptions=True)
        # The source holds something (a place among followers, a connection): give it back now, not when collected.
        if isinstance(iterator, AsyncGenerator):
            await iterator.aclose()


# What ends a line in an event stream; a JSON text may hold the other characters that Python takes for line ends.
_LINE_END = re.compile(r"\r\n|\n|\r")


def _encode(item: Mapping[str, Any]) -> bytes:
    data = item["data"] if isinstance(item["data"], str) else orjson.dumps(item["data"]).decode()
    lines = "".join(f"data: {line}\n" for line in _LINE_END.split(data))
    return f"id: {item['id']}\nevent: {item['event']}\n{lines}\n".encode()


class EventStream(StreamingResponse):
    """The answer that sends `events` as `sse` encodes them, and closes them when the client leaves."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[Mapping[str, Any]], *, ping_s: float = 15.0) -> None:
        self._stream = sse(events, ping_s=ping_s)
        super().__init__(self._stream, headers={"Cache-Control": "no-store"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream; of one that HEAD asks for the headers alone."""
        async with contextlib.aclosing(self._stream):
            if HEAD in scope:
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                await send({"type": "http.response.body", "body": b""})
                return
            await super().__call__(scope, receive, send)
