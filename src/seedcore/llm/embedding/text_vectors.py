"""What embedders share: which part of a text counts, vectors of unit length, and weights that a process loads once."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Loaded = TypeVar("Loaded")

MAX_TEXT_CHARS = 32_768
"""What counts of a text: its beginning."""


class LoadedOnce(Generic[Loaded]):
    """What `load` makes, made by whichever thread needs it first; the others wait. A failure is tried again.

    Attributes:
        value: what was made; None: nothing needed it yet.
    """

    def __init__(self, load: Callable[[], Loaded]) -> None:
        self._load, self._lock = load, threading.Lock()
        self.value: Loaded | None = None

    def get(self) -> Loaded:
        """The value.

        Raises:
            Exception: whatever `load` raises.
        """
        if (value := self.value) is not None:
            return value
        with self._lock:
            if self.value is None:
                self.value = self._load()
            return self.value


def readable_text(text: str) -> str:
    """The part of `text` that is embedded; halves of surrogate pairs, which UTF-8 has no bytes for, become `?`."""
    return text[:MAX_TEXT_CHARS].encode("utf-8", "replace").decode()


def unit_length(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The rows, each divided by its length in place; a row of zeros stays one."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors /= np.where(lengths > 0, lengths, 1)
    return vectors
