"""A query's vector is made once."""

import numpy as np
import pytest

from seedcore.errors import UnavailableError
from seedcore.memory.working.kept_embedder import KeptEmbedder
from seedcore.memory.working.working_memory import WorkingMemory
from seedcore.settings import load_settings


class CountingEmbedder:
    """Vectors by the length of texts; counts how many it made, and fails while it is told to."""

    name, dimension = "lengths", 3

    def __init__(self) -> None:
        self.made, self.fails = 0, False

    async def embed(self, texts):  # type: ignore[no-untyped-def]
        if self.fails:
            raise UnavailableError("the model is away")
        self.made += len(texts)
        return np.array([[len(text), 0, 0] for text in texts], dtype=np.float32)


async def test_a_text_that_was_embedded_before_costs_the_model_nothing() -> None:
    model, working = CountingEmbedder(), WorkingMemory(load_settings())
    embedder = KeptEmbedder(model, working)  # type: ignore[arg-type]
    first, again = await embedder.embed(["query"]), await embedder.embed(["query"])
    assert first.tolist() == again.tolist() == [[5.0, 0.0, 0.0]]
    assert (again.dtype, model.made) == (np.float32, 1)
    again[0, 0] = 9
    assert (await embedder.embed(["query"]))[0, 0] == 5
    assert (await embedder.embed(["a", "query"])).shape == (2, 3)
    assert model.made == 3
    await working.close()


async def test_a_model_that_fails_is_asked_again() -> None:
    model, working = CountingEmbedder(), WorkingMemory(load_settings())
    embedder = KeptEmbedder(model, working)  # type: ignore[arg-type]
    model.fails = True
    with pytest.raises(UnavailableError):
        await embedder.embed(["query"])
    model.fails = False
    assert (await embedder.embed(["query"])).shape == (1, 3)
    await working.close()
