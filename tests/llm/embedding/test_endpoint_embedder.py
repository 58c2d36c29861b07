"""An endpoint that speaks OpenAI's protocol as embedder."""

import json
from collections.abc import AsyncIterator

import numpy as np
import pytest

from seedcore.errors import SettingsError
from seedcore.llm.embedding.embedder import make_embedder
from seedcore.llm.embedding.endpoint_embedder import EndpointEmbedder
from seedcore.llm.model_errors import ModelAnswerError
from seedcore.settings import Settings, load_settings
from seedcore.stores.postgres import Database
from tests.support.scripted_model import scripted_model


@pytest.fixture
async def database(pg_settings: Settings) -> AsyncIterator[Database]:
    database = Database(pg_settings)
    yield database
    await database.aclose()


@pytest.mark.integration
async def test_texts_go_to_the_endpoint_in_batches_and_come_back_in_order(database: Database) -> None:
    with scripted_model() as model:
        given = {"embedder": "openai", "embedding_model": "small", "embedding_dimension": 3, "embedding_url": model.url}
        embedder = make_embedder(load_settings(**given), database)
        texts = ["x" * (n % 7) for n in range(300)]
        vectors = await embedder.embed(texts)
        assert (embedder.name, embedder.dimension, vectors.shape, vectors.dtype) == ("small", 3, (300, 3), np.float32)
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1)
        expected = [max(1, len(text)) for text in texts]
        assert np.allclose(vectors[:, 0] / vectors[:, 1], expected)
        assert isinstance(embedder, EndpointEmbedder)
        await embedder.aclose()


@pytest.mark.integration
async def test_vectors_of_another_dimension_are_refused(database: Database) -> None:
    with scripted_model() as model:
        given = {"embedder": "openai", "embedding_model": "small", "embedding_dimension": 4, "embedding_url": model.url}
        embedder = EndpointEmbedder(load_settings(**given), database)
        with pytest.raises(ModelAnswerError, match="SEEDCORE_EMBEDDING_DIMENSION is 4"):
            await embedder.embed(["x"])
        for wrong in ({}, {"data": 1}, {"data": [{"index": 0}]}, {"data": [{"index": 0, "embedding": ["x"] * 4}]}):
            with pytest.raises(ModelAnswerError):
                embedder._read(json.loads(json.dumps(wrong)), 1)
        with pytest.raises(ModelAnswerError, match="no direction"):
            embedder._read({"data": [{"index": 0, "embedding": [0.0] * 4}]}, 1)
        await embedder.aclose()


def test_an_endpoint_needs_its_model_and_dimension(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="SEEDCORE_EMBEDDING_MODEL"):
        load_settings(embedder="openai")
    with pytest.raises(SettingsError, match="SEEDCORE_EMBEDDING_DIMENSION"):
        load_settings(embedder="openai", embedding_model="small")
    with pytest.raises(SettingsError, match="end in /v1"):
        load_settings(embedding_url="http://here/")
    embedder = make_embedder(load_settings(embedder="openai", embedding_model="small", embedding_dimension=3))
    assert (embedder.name, embedder.dimension) == ("small", 3)
