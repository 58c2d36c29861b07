"""The HTTP connections to the one upstream of this process, and which models it has."""

import asyncio
import json
import time
from typing import Any

import httpx

from seedcore.errors import DeadlineError, UnavailableError
from seedcore.llm.calls.answers import answer_of, error_of
from seedcore.llm.calls.prepared_call import AttemptFailed, PreparedCall
from seedcore.llm.model_errors import LlmNotConfiguredError, ModelAnswerError
from seedcore.llm.upstream import FAST, Upstream
from seedcore.settings import Settings
from seedcore.utils.tls.contexts import client_context

CONNECT_S = 5.0
MODELS_KEPT_S = 60.0
MAX_ERROR_BYTES = 64 * 1024
MAX_LIST_BYTES = 4 * 1024 * 1024
SHOWN_MODELS, MAX_MODEL_NAME = 10, 200
SURELY_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class UpstreamLink:
    """Sends to an upstream; one a process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._http: httpx.AsyncClient | None = None
        self._models: tuple[float, str, list[str]] = (0.0, "", [])

    async def send(self, upstream: Upstream, model: str, call: PreparedCall) -> httpx.Response:
        """Send a call; the response's status is a success, and its body is not read yet.

        Raises:
            AttemptFailed: there is no such response.
        """
        # NaN is no JSON, and lone surrogates are no UTF-8: escaped, both are the server's to refuse.
        content = json.dumps({**_as_served(upstream, call.body), "model": model}).encode()
        headers = {"content-type": "application/json", **({} if upstream.reserves else call.scope.to_headers())}
        client = self._client(upstream)
        request = client.build_request(
            "POST", upstream.base_url + call.path, content=content, headers={**headers, **_key(upstream)}
        )
        try:
            response = await call.within(client.send(request, stream=True))
            if response.is_success:
                return response
            try:
                body = await call.within(read_bounded(response, MAX_ERROR_BYTES))
            finally:
                await response.aclose()
        except DeadlineError as error:
            raise AttemptFailed(error, retry=False, unseen=True, sick=True) from None
        except ModelAnswerError as error:
            raise AttemptFailed(error, retry=False, unseen=False, sick=False) from None
        except httpx.HTTPError as error:
            sent = not isinstance(error, SURELY_UNSENT)
            raise AttemptFailed(_lost(error), retry=True, unseen=sent, sick=True) from None
        status = response.status_code
        known = error_of(upstream, status, body, response.headers.get("retry-after"))
        # A facade has tried again already.
        retry = known.transient and upstream.reserves
        raise AttemptFailed(known, retry=retry, unseen=False, sick=status >= 500)

    async def names(self, upstream: Upstream, wait_s: float) -> list[str]:
        """Names of the upstream's models, at most a minute old.

        Raises:
            UnavailableError: it does not say in time.
        """
        at, of, names = self._models
        if names and of == upstream.base_url and time.monotonic() - at < MODELS_KEPT_S:
            return names
        client = self._client(upstream)
        request = client.build_request("GET", f"{upstream.base_url}/models", headers=_key(upstream))
        try:
            async with asyncio.timeout(wait_s):
                response = await client.send(request, stream=True)
                try:
                    body = await read_bounded(response, MAX_LIST_BYTES)
                finally:
                    await response.aclose()
        except TimeoutError:
            raise DeadlineError("The language model's server did not say which models it has in time.") from None
        except httpx.HTTPError as error:
            raise _lost(error) from None
        if not response.is_success:
            raise error_of(upstream, response.status_code, body[:MAX_ERROR_BYTES], None)
        data = answer_of(body).get("data")
        items: list[Any] = data if isinstance(data, list) else []
        names = [item["id"] for item in items if isinstance(item, dict) and _is_model_name(item.get("id"))]
        self._models = time.monotonic(), upstream.base_url, names
        return names

    async def resolve(self, upstream: Upstream, model: str | None, wait_s: float) -> str:
        """The upstream's name of a model that was asked for by name or alias; None: by none.

        Raises:
            LlmNotConfiguredError: it is an alias that no setting gives a model, and the server has not exactly one.
        """
        wanted = model or FAST
        if wanted in upstream.models:
            return upstream.models[wanted]
        if wanted not in ("fast", "deep"):
            return wanted
        names = await self.names(upstream, wait_s)
        if len(names) == 1:
            return names[0]
        shown = ", ".join(names[:SHOWN_MODELS]) or "none"
        raise LlmNotConfiguredError(f"Set LLM_MODEL: which model to ask is open. The server has: {shown}.")

    def _client(self, upstream: Upstream) -> httpx.AsyncClient:
        if self._http is None:
            ours = upstream.provider in ("embedded", "mlservice")
            self._http = httpx.AsyncClient(
                timeout=httpx.Timeout(self._settings.llm_timeout_s, connect=CONNECT_S),
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
                verify=(client_context(self._settings) if not upstream.reserves else None) or True,
                # What unpacks may be a thousand times as large as what is read, and bounded.
                headers={"accept-encoding": "identity"},
                # What is on this machine or in this cluster is behind no proxy.
                trust_env=not ours,
            )
        return self._http

    async def aclose(self) -> None:
        """Close the connections."""
        if self._http is not None:
            client, self._http = self._http, None
            await client.aclose()


def check_unpacked(response: httpx.Response) -> None:
    """Refuse a packed answer; none was asked for.

    Raises:
        ModelAnswerError: it is packed.
    """
    packed = response.headers.get("content-encoding", "identity")
    if packed != "identity":
        raise ModelAnswerError(f"The language model's server sends a packed answer ({packed[:50]!r}), unasked.")


async def read_bounded(response: httpx.Response, most: int) -> bytes:
    """The first `most` bytes of a body and, when there are more, at least one more.

    Raises:
        ModelAnswerError: it is packed.
    """
    check_unpacked(response)
    body = bytearray()
    async for part in response.aiter_bytes():
        body += part
        if len(body) > most:
            break
    return bytes(body)


def _is_model_name(name: object) -> bool:
    return isinstance(name, str) and 0 < len(name) <= MAX_MODEL_NAME and name.isprintable()


def _key(upstream: Upstream) -> dict[str, str]:
    if upstream.api_key is None:
        return {}
    return {"authorization": f"Bearer {upstream.api_key.get_secret_value()}"}


def _lost(error: httpx.HTTPError) -> UnavailableError:
    return UnavailableError(f"The language model's server does not answer ({type(error).__name__}).")


def _as_served(upstream: Upstream, body: dict[str, Any]) -> dict[str, Any]:
    """The body with its maximum of tokens under the name that the server heeds: OpenAI's own has a newer one."""
    if not upstream.reserves:
        return body
    shown = dict(body)
    most = shown.pop("max_completion_tokens", None) or shown.pop("max_tokens", None)
    shown.pop("max_tokens", None)
    if most is None:
        return shown
    return {**shown, "max_completion_tokens" if upstream.provider == "openai" else "max_tokens": most}
