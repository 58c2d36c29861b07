"""The middleware in front of every route: API keys, limits, and no leak of an unexpected error."""

import asyncio
from functools import partial

from starlette.types import ASGIApp, Receive, Scope, Send

from seedcore import errors
from seedcore.settings import Settings
from seedcore.telemetry.logs import get_logger
from seedcore.web.access.access_control import AccessControl
from seedcore.web.problems import unexpected
from seedcore.web.request_limits import BodyLimit, check_declared_length, check_url_text, limit_body
from seedcore.web.response_channel import ResponseChannel, StreamRefusedError


class RequestGuard:
    """ASGI middleware that lets a request through, or answers with a problem document.

    The deadline is SeedCore's own: Ray Serve's proxy lets a client lift its timeout by a header. Event streams are
    exempt once they have begun to answer.
    """

    def __init__(self, app: ASGIApp, settings: Settings, access: AccessControl) -> None:
        self.app = app
        self._access = access
        self._max_body = BodyLimit(settings.max_batch_bytes, "SEEDCORE_MAX_BATCH_BYTES")
        self._max_upload = BodyLimit(settings.max_dataset_bytes, "SEEDCORE_MAX_DATASET_BYTES")
        self._timeout_s = settings.request_timeout_s
        self._logger = get_logger("seedcore.web")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through, or answer with a problem document."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        admission = self._access.begin(scope)
        recheck = partial(self._access.check_again, admission, scope)
        channel = ResponseChannel(send, partial(self._access.settle, admission), recheck)
        admitted = False
        try:
            async with asyncio.timeout(self._timeout_s) as deadline:
                channel.deadline = deadline
                headers = {name.lower(): value for name, value in scope["headers"]}
                await self._access.admit(admission, scope)
                admitted = True
                check_url_text(scope)
                limit = self._max_upload if admission.rule.upload else self._max_body
                check_declared_length(headers, limit)
                await self.app(scope, limit_body(receive, limit), channel)
        except StreamRefusedError as refusal:
            self._logger.info("event stream ended", path=scope["path"], reason=str(refusal))
            await channel.end()
        except asyncio.CancelledError:
            if admitted and not channel.settled:
                self._access.give_up(admission)
            raise
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
