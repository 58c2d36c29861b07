"""The middleware in front of every route: API keys, limits, and no leak of an unexpected error."""

import asyncio

from starlette.types import ASGIApp, Receive, Scope, Send

from seedcore import errors
from seedcore.settings import Settings
from seedcore.telemetry.logs import get_logger
from seedcore.web.access.caller import put_caller
from seedcore.web.authentication import ApiKeys
from seedcore.web.problems import unexpected
from seedcore.web.request_limits import ResponseChannel, check_declared_length, check_url_text, limit_body


class RequestGuard:
    """ASGI middleware that lets a request through, or answers with a problem document.

    The deadline is SeedCore's own: Ray Serve's proxy lets a client lift its timeout by a header. Event streams are
    exempt once they have begun to answer.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self._keys = ApiKeys(settings)
        self._max_body = settings.max_batch_bytes
        self._timeout_s = settings.request_timeout_s
        self._logger = get_logger("seedcore.web")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through, or answer with a problem document."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        channel = ResponseChannel(send)
        try:
            self._check(scope)
            async with asyncio.timeout(self._timeout_s) as deadline:
                channel.deadline = deadline
                await self.app(scope, limit_body(receive, self._max_body), channel)
        except errors.SeedCoreError as error:
            await channel.fail(error, scope, receive)
        except TimeoutError as error:
            if deadline.expired():
                late = errors.DeadlineError(f"The request took longer than {self._timeout_s:g} s.")
            else:
                self._logger.error("call inside a request timed out", path=scope["path"], exc_info=error)
                late = errors.DeadlineError("Something that this request waited for did not answer in time.")
            await channel.fail(late, scope, receive)
        except Exception as error:
            self._logger.error("unexpected error", path=scope["path"], exc_info=error)
            await channel.fail(unexpected(error), scope, receive)

    def _check(self, scope: Scope) -> None:
        headers = {name.lower(): value for name, value in scope["headers"]}
        put_caller(scope, self._keys.check(scope, headers))
        check_url_text(scope)
        check_declared_length(headers, self._max_body)
