"""The embedder `openai`: an endpoint that speaks OpenAI's protocol, asked through the one way to models."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from seedcore.llm.budget_scope import BudgetScope
from seedcore.llm.calls.model_caller import ModelCaller
from seedcore.llm.embedding.text_vectors import Vectors, readable_text, unit_length
from seedcore.llm.model_errors import ModelAnswerError
from seedcore.settings import Settings
from seedcore.stores.postgres import Database

BATCH = 128


class EndpointEmbedder:
    """An `Embedder` that asks SEEDCORE_EMBEDDING_URL, or where the language model is, for SEEDCORE_EMBEDDING_MODEL.

    Args:
        settings: with `embedding_model` and `embedding_dimension`.
        database: where budgets are; None: one connection of its own, closed by `aclose`.
    """

    def __init__(self, settings: Settings, database: Database | None = None) -> None:
        assert settings.embedding_model is not None
        assert settings.embedding_dimension is not None
        self.name = settings.embedding_model
        self.dimension = settings.embedding_dimension
        pool = database or Database(settings, size=1, name="seedcore-embedder")
        self._own = pool if database is None else None
        self._caller = ModelCaller(_where(settings), pool)

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """One vector a text, shape (n, dimension), float32, unit length; the first 32,768 characters of a text count.

        Raises:
            LlmNotConfiguredError: there is no endpoint.
            BudgetExceededError: it would be over a budget.
            UnavailableError: the endpoint does not answer.
            ModelAnswerError: it answers something else than one vector of this dimension for each text.
        """
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        for start in range(0, len(texts), BATCH):
            # An endpoint refuses an empty text.
            batch = [readable_text(text) or " " for text in texts[start : start + BATCH]]
            body = {"model": self.name, "input": batch, "encoding_format": "float"}
            reply = await self._caller.embeddings(body, BudgetScope())
            vectors[start : start + len(batch)] = self._read(reply.body, len(batch))
        return unit_length(vectors)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._caller.aclose()
        if self._own is not None:
            await self._own.aclose()

    def _read(self, answer: dict[str, Any], count: int) -> Vectors:
        try:
            items = sorted(answer["data"], key=lambda item: int(item["index"]))
            vectors = np.array([item["embedding"] for item in items], dtype=np.float32)
        except (KeyError, TypeError, ValueError, OverflowError):
            raise ModelAnswerError(f"The endpoint of {self.name} answered something that is no embeddings.") from None
        if vectors.shape != (count, self.dimension):
            raise ModelAnswerError(
                f"The endpoint of {self.name} answered vectors of shape {vectors.shape} for {count} texts: "
                f"SEEDCORE_EMBEDDING_DIMENSION is {self.dimension}."
            )
        if not np.isfinite(vectors).all() or not vectors.any(axis=1).all():
            raise ModelAnswerError(f"The endpoint of {self.name} answered a vector that has no direction.")
        return vectors


def _where(settings: Settings) -> Settings:
    """The settings of the endpoint as those of a language model's server."""
    if settings.embedding_url is None:
        return settings
    return settings.model_copy(
        update={
            "llm_provider": "vllm",
            "llm_upstream_url": settings.embedding_url,
            "llm_api_key": settings.embedding_key,
        }
    )
