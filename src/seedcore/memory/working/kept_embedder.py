"""An embedder that keeps the vectors of single texts, which are queries, in working memory."""

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from seedcore.memory.working.working_memory import WorkingMemory

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from seedcore.llm.embedding.embedder import Embedder

NAMESPACE = "embeddings"
KEPT_S = 3600.0
"""A vector of a model does not change: how long it is kept is only a matter of room."""


class KeptEmbedder:
    """Gives the vector of a text that was embedded alone before without the model; several at once go to the model.

    Args:
        embedder: the model.
        working: where vectors are kept, 4 bytes a dimension.
    """

    def __init__(self, embedder: "Embedder", working: WorkingMemory) -> None:
        self._embedder, self._working = embedder, working

    @property
    def name(self) -> str:
        """The model's name."""
        return self._embedder.name

    @property
    def dimension(self) -> int:
        """Numbers of a vector."""
        return self._embedder.dimension

    async def aclose(self) -> None:
        """Close the model's connections."""
        await self._embedder.aclose()

    async def embed(self, texts: Sequence[str]) -> "NDArray[np.float32]":
        """Vectors of unit length, shape (n, dimension); see `Embedder.embed` for what it raises."""
        if len(texts) != 1:
            return await self._embedder.embed(texts)
        import numpy as np

        async def make() -> bytes:
            return (await self._embedder.embed(texts)).astype(np.float32).tobytes()

        key = hashlib.sha256(f"{self.name}\0{self.dimension}\0{texts[0]}".encode("utf-8", "surrogatepass")).hexdigest()
        found = await self._working.get_or_make(NAMESPACE, key, make, KEPT_S)
        return np.frombuffer(found, np.float32).reshape(1, self.dimension).copy()
