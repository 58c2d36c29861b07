"""What turns texts into vectors, and which one the settings name."""

from collections.abc import Sequence
from typing import Protocol

from seedcore.llm.embedding.sentence_embedder import SentenceEmbedder
from seedcore.llm.embedding.text_vectors import Vectors
from seedcore.llm.embedding.word_embedder import WordEmbedder
from seedcore.settings import Settings
from seedcore.stores.postgres import Database


class Embedder(Protocol):
    """Turns texts into vectors of unit length; texts of like meaning get vectors that point the same way.

    Attributes:
        name: the model, stored with each vector: vectors of two models cannot be compared.
        dimension: numbers in a vector.
    """

    @property
    def name(self) -> str:
        """The model."""
        ...

    @property
    def dimension(self) -> int:
        """Numbers in a vector."""
        ...

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """One vector a text, in order: shape (n, dimension), float32, unit length.

        Raises:
            UnavailableError: the model cannot be loaded, or its endpoint does not answer.
        """
        ...

    async def aclose(self) -> None:
        """Close the connections, if it has some."""
        ...


def make_embedder(settings: Settings, database: Database | None = None) -> Embedder:
    """The embedder that SEEDCORE_EMBEDDER names. Nothing is loaded or connected before its first text.

    Args:
        settings: what is set up.
        database: where an endpoint's embeddings count against budgets; None: a connection of its own.
    """
    if settings.embedder == "minilm":
        return SentenceEmbedder()
    if settings.embedder == "openai":
        from seedcore.llm.embedding.endpoint_embedder import EndpointEmbedder

        return EndpointEmbedder(settings, database)
    return WordEmbedder()


def embedder_in_process(name: str) -> Embedder | None:
    """The embedder of that name, if it is one of those that need nothing but their weights."""
    known: tuple[Embedder, ...] = (WordEmbedder(), SentenceEmbedder())
    return next((embedder for embedder in known if embedder.name == name), None)
