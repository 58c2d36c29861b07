"""The embedder by default, with its real weights."""

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from seedcore.errors import NotConfiguredError
from seedcore.llm.embedding import word_embedder
from seedcore.llm.embedding.embedder import Embedder, make_embedder
from seedcore.llm.embedding.packaged_weights import packaged_file
from seedcore.llm.embedding.text_vectors import MAX_TEXT_CHARS, LoadedOnce
from seedcore.llm.embedding.word_embedder import WordEmbedder
from seedcore.settings import load_settings

TEXTS = ["the database refuses connections", "PostgreSQL is out of connection slots", "the cat sat on a mat"]


async def test_like_meaning_gives_like_vectors() -> None:
    embedder: Embedder = make_embedder(load_settings())
    refused, full, cat = await embedder.embed(TEXTS)
    assert refused @ full > 0.2
    assert refused @ full > refused @ cat + 0.2


async def test_vectors_have_the_stated_shape_and_unit_length() -> None:
    embedder = WordEmbedder()
    vectors = await embedder.embed(TEXTS * 100)
    assert vectors.shape == (300, embedder.dimension)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert (await embedder.embed([])).shape == (0, embedder.dimension)


async def test_a_text_has_one_vector_whatever_its_batch() -> None:
    embedder = WordEmbedder()
    together = await embedder.embed(TEXTS * 50)
    for index, text in enumerate(TEXTS):
        assert np.array_equal(together[index], (await embedder.embed([text]))[0])


@pytest.mark.parametrize("text", ["", " ", "\x00", "\ud800", "a\udfffb", "日本語", "x" * 200_000, "\u200b"])
async def test_odd_text_has_a_vector_too(text: str) -> None:
    (vector,) = await WordEmbedder().embed([text])
    assert np.isfinite(vector).all()
    assert np.isclose(np.linalg.norm(vector), 1, atol=1e-5)


async def test_the_beginning_of_a_long_text_counts() -> None:
    long, cut = await WordEmbedder().embed(["a b " * MAX_TEXT_CHARS, ("a b " * MAX_TEXT_CHARS)[:MAX_TEXT_CHARS]])
    assert np.array_equal(long, cut)


def test_many_threads_load_the_weights_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loads = []
    load = word_embedder._WordVectors.load
    monkeypatch.setattr(word_embedder, "_shared", LoadedOnce(lambda: loads.append(1) or load()))
    with ThreadPoolExecutor(8) as pool:
        vectors = list(pool.map(lambda _: asyncio.run(WordEmbedder().embed(TEXTS)), range(16)))
    assert len(loads) == 1
    assert all(np.array_equal(vectors[0], other) for other in vectors)


async def test_the_package_of_the_weights_is_not_imported() -> None:
    await WordEmbedder().embed(TEXTS)
    assert "wordllama" not in sys.modules


def test_a_package_that_is_not_there_is_named() -> None:
    with pytest.raises(NotConfiguredError, match="no-such-weights"):
        packaged_file("no-such-weights", "x")
    with pytest.raises(NotConfiguredError, match="has no file x"):
        packaged_file("wordllama", "x")
