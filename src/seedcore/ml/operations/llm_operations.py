"""The facade of language models: OpenAI's protocol over the one core that all calls of models go through."""

import base64
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from starlette.types import Receive, Scope, Send

from seedcore.errors import InvalidInputError, NotFoundError, SeedCoreError
from seedcore.llm.budget_scope import BudgetScope
from seedcore.llm.calls.model_caller import ModelCaller
from seedcore.llm.calls.open_call import ModelReply, OpenCall, is_usage_alone
from seedcore.llm.embedding.word_embedder import WordEmbedder
from seedcore.llm.upstream import DEEP, FAST, missing_upstream
from seedcore.ml.operations import llm_bodies
from seedcore.ml.parts import MLParts
from seedcore.schemas import llm as schemas
from seedcore.tasks.submission.tenancy import HERE, Origin
from seedcore.telemetry.logs import get_logger
from seedcore.web.access.caller import ANONYMOUS, Caller, CallerDep
from seedcore.web.access.request_origin import TenantDep
from seedcore.web.service_base import Operation
from seedcore.web.sse import EventStream, stream_responses

OURS = "seedcore"


class ChatStream(EventStream):
    """The events of a streamed answer; whatever becomes of the client, the call is closed and paid for."""

    def __init__(self, call: OpenCall, events: AsyncIterator[Mapping[str, object]]) -> None:
        super().__init__(events)
        self._call = call

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._call.aclose()


class LlmOperations:
    """Forwards chats and embeddings to the language model's server, and embeds texts here."""

    def __init__(self, parts: MLParts) -> None:
        self._settings = parts.settings
        self._caller = ModelCaller(parts.settings, parts.database, facade=True)
        self._local = WordEmbedder()
        self._log = get_logger("seedcore.ml.llm")

    def operations(self) -> Sequence[Operation]:
        """What this part serves."""
        s = schemas
        return (
            Operation("GET", "/v1/models", self.models, summary="List language models"),
            Operation(
                "POST",
                "/v1/embeddings",
                self.embeddings,
                s.EmbeddingsRequest,
                summary="Embed texts",
                returns=s.EmbeddingsResponse,
                submits=True,
            ),
        )

    def extend(self, app: FastAPI) -> None:
        """Add the routes that stream, and that name a model."""

        @app.get("/v1/models/{model:path}", response_model=schemas.ModelOut, summary="One language model")
        async def get_model(model: str) -> schemas.ModelOut:
            """One model of the list."""
            for one in (await self.models()).data:
                if one.id == model:
                    return one
            raise NotFoundError(f"There is no model {model!r}; /ml/v1/models lists them.")

        @app.post("/v1/chat/completions", response_model=None, responses=stream_responses(), summary="Continue a chat")
        async def chat_completions(
            request: schemas.ChatCompletionRequest, caller: CallerDep, tenant: TenantDep, http: Request
        ) -> Response:
            """Continue a chat by OpenAI's protocol, whole or streamed; nothing is sent that a budget does not hold."""
            body = request.model_dump(exclude_unset=True)
            llm_bodies.check_json(body)
            llm_bodies.check_maximum(body)
            scope = _scope_of(caller, tenant, http.headers)
            if not request.stream:
                reply = await self._caller.chat(body, scope)
                llm_bodies.check_completion(reply.body)
                return Response(reply.content, media_type="application/json", headers=_price_headers(reply))
            with_usage = request.stream_options is not None and bool(request.stream_options.include_usage)
            call = await self._caller.open_stream(body, scope)
            return ChatStream(call, self._events(call, with_usage=with_usage))

    async def stop(self) -> None:
        """Close the connections to the server."""
        await self._caller.aclose()

    def health(self) -> Mapping[str, object]:
        """What is set up, and how the server does."""
        return self._caller.health()

    async def models(self) -> schemas.ModelsResponse:
        """The embedder in process; and where a language model is set up, its server's models and their aliases."""
        found = [(schemas.LOCAL_MODEL, OURS)]
        if missing_upstream(self._settings) is None:
            names = await self._caller.models()
            found += [(name, self._settings.llm_provider) for name in names]
            found += [(alias, OURS) for alias in (FAST, DEEP) if alias not in names]
        return schemas.ModelsResponse(data=[schemas.ModelOut(id=name, created=0, owned_by=by) for name, by in found])

    async def embeddings(
        self, request: schemas.EmbeddingsRequest, *, origin: Origin = HERE, caller: Caller = ANONYMOUS
    ) -> bytes:
        """Turn texts into vectors; the model `local` is in process, any other one is the language model's server's."""
        if request.model == schemas.LOCAL_MODEL:
            return await self._embed_here(request)
        body = request.model_dump(exclude_unset=True)
        llm_bodies.check_json(body)
        reply = await self._caller.embeddings(body, BudgetScope(key=caller.by, tenant=origin.tenant))
        llm_bodies.check_embeddings(reply.body, _count(request.input))
        return reply.content

    async def _embed_here(self, request: schemas.EmbeddingsRequest) -> bytes:
        texts = [request.input] if isinstance(request.input, str) else request.input
        if not isinstance(texts[0], str):
            raise InvalidInputError.for_field("input", "must hold texts: the model `local` has tokens of its own")
        if request.dimensions not in (None, self._local.dimension):
            raise InvalidInputError.for_field("dimensions", f"the model `local` has {self._local.dimension}")
        vectors, tokens = await self._local.embed_counted(texts)
        rows: Sequence[Any] = list(vectors)
        if request.encoding_format == "base64":
            rows = [base64.b64encode(row.astype("<f4").tobytes()).decode() for row in vectors]
        answer = {
            "object": "list",
            "data": [{"object": "embedding", "index": index, "embedding": row} for index, row in enumerate(rows)],
            "model": schemas.LOCAL_MODEL,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
        return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)

    async def _events(self, call: OpenCall, *, with_usage: bool) -> AsyncIterator[Mapping[str, object]]:
        """The server's events as they come. Once the answer has begun an error is an event, and nothing is repeated."""
        try:
            async for event in call.events():
                if with_usage or not is_usage_alone(event):
                    yield {"data": llm_bodies.check_event(event)}
        except SeedCoreError as error:
            self._log.warning("streamed answer broke off", model=call.model, reason=error.detail)
            yield {"data": {"error": {"message": error.detail, "type": "server_error", "code": error.code}}}
            return
        yield {"data": "[DONE]"}


def _scope_of(caller: Caller, tenant: str, headers: Mapping[str, str]) -> BudgetScope:
    """Who pays: the caller, or whoever one of SeedCore's own services says that it asks for."""
    if caller.tenant is None and not caller.scopes.isdisjoint(("operate", "admin")):
        given = BudgetScope.from_headers(headers)
        if given is not None:
            return given
    return BudgetScope(key=caller.by, tenant=tenant)


def _price_headers(reply: ModelReply) -> dict[str, str]:
    """What the call cost by the price table; a model without a price costs 0, and the headers say so."""
    return {"x-seedcore-money": f"{reply.money:.9g}", "x-seedcore-priced": "true" if reply.priced else "false"}


def _count(given: str | list[Any]) -> int:
    return 1 if isinstance(given, str) or isinstance(given[0], int) else len(given)
