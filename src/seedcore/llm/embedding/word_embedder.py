"""The embedder by default: static word vectors from the package wordllama, computed in this process.

A text's vector is the mean of the vectors of its tokens, made unit length (Miller 2024, WordLlama: token embeddings
of language models, trained for similarity). A text costs some 0.1 ms; the weights are loaded once a process, by the
first text, and take 33 MB.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seedcore.errors import UnavailableError
from seedcore.llm.embedding.packaged_weights import packaged_file
from seedcore.llm.embedding.text_vectors import LoadedOnce, Vectors, readable_text, unit_length

_DISTRIBUTION = "wordllama"
_WEIGHTS = "wordllama/weights/l2_supercat_256.safetensors"
_TOKENIZER = "wordllama/tokenizers/l2_supercat_tokenizer_config.json"
_DIMENSION = 256
_BATCH = 128
_INLINE_CHARS = 2_000
"""Less text than this, some 0.5 ms, is embedded in the event loop: a thread would cost as much."""


@dataclass(frozen=True, slots=True)
class _WordVectors:
    """The weights: `rows` of shape (tokens, dimension), float32, and the tokenizer (`tokenizers.Tokenizer`)."""

    rows: NDArray[np.float32]
    tokenizer: Any

    @classmethod
    def load(cls) -> "_WordVectors":
        # Imported with the weights: together they cost 50 ms, and most processes embed nothing.
        from safetensors import SafetensorError
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        weights, vocabulary = (packaged_file(_DISTRIBUTION, path) for path in (_WEIGHTS, _TOKENIZER))
        try:
            rows = load_file(str(weights))["embedding.weight"]
            return cls(np.ascontiguousarray(rows, dtype=np.float32), Tokenizer.from_file(str(vocabulary)))
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise UnavailableError(f"The embedder's weights cannot be read from {weights}: {error}") from error

    def embed(self, texts: Sequence[str]) -> tuple[Vectors, int]:
        """Vectors, and how many tokens the texts have. A text without a token has the vector of the unknown token."""
        tokens = 0
        vectors = np.empty((len(texts), self.rows.shape[1]), dtype=np.float32)
        for start in range(0, len(texts), _BATCH):
            batch = [readable_text(text) for text in texts[start : start + _BATCH]]
            for index, encoding in enumerate(self.tokenizer.encode_batch_fast(batch, add_special_tokens=False), start):
                ids = encoding.ids
                tokens += len(ids)
                vectors[index] = self.rows.take(ids or [0], axis=0).sum(axis=0)
        return unit_length(vectors), tokens


_shared = LoadedOnce(_WordVectors.load)


class WordEmbedder:
    """An `Embedder` of static word vectors; safe for use from several threads and event loops."""

    name = "wordllama-l2-supercat-256"
    dimension = _DIMENSION

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """One vector a text, shape (n, 256), float32, unit length; the first 32,768 characters of a text count.

        Raises:
            UnavailableError: the weights cannot be read.
        """
        return (await self.embed_counted(texts))[0]

    async def embed_counted(self, texts: Sequence[str]) -> tuple[Vectors, int]:
        """`embed`, and how many tokens the texts have."""
        if (vectors := _shared.value) is not None and sum(map(len, texts)) <= _INLINE_CHARS:
            return vectors.embed(texts)
        return await asyncio.to_thread(lambda: _shared.get().embed(texts))

    async def aclose(self) -> None:
        """Nothing is open."""

    def embed_now(self, texts: Sequence[str]) -> Vectors:
        """`embed`, in the calling thread."""
        return _shared.get().embed(texts)[0]
