"""Models in memory, found by version and SHA-256, bounded by bytes."""

import threading
from collections import OrderedDict
from dataclasses import dataclass

from seedcore.ml.predicting.loaded_model import LoadedModel
from seedcore.ml.registry.model_store import ManifestStamp, ModelStore

BYTES_PER_FILE_BYTE = 3
"""A model takes some three times its file's size in memory."""
LEAST_BYTES = 65_536
"""What the smallest model counts as: the object, its encoder and XGBoost's own parts."""


@dataclass(frozen=True, slots=True)
class _Cached:
    stamp: ManifestStamp
    model: LoadedModel
    size: int


class ModelCache:
    """The most recently used models; the last one stays, however large it is. Safe to use from several threads.

    A version is loaded again when its manifest was replaced, and its file has the SHA-256 that the manifest says.
    """

    def __init__(self, store: ModelStore, max_bytes: int) -> None:
        self.store, self.max_bytes = store, max_bytes
        self._models: OrderedDict[tuple[str, int], _Cached] = OrderedDict()
        self._lock, self._loading = threading.Lock(), threading.Lock()
        self.size = 0
        """Bytes of what is cached, estimated by the sizes of files."""
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._models)

    def peek(self, name: str, version: int) -> LoadedModel | None:
        """The version if it is in memory and current, without reading its files.

        Raises:
            NotFoundError: there is no such version.
        """
        return self._find((name, version), self.store.stamp(name, version))

    def get(self, name: str, version: int) -> LoadedModel:
        """The version, loaded if it has to be.

        Raises:
            NotFoundError: there is no such version.
            ConflictError: its files are damaged.
        """
        key = (name, version)
        found = self._find(key, self.store.stamp(name, version))
        if found is not None:
            return found
        with self._loading:
            # Taken before the files are read: what replaces them meanwhile has another stamp.
            stamp = self.store.stamp(name, version)
            found = self._find(key, stamp)
            return self._load(key, stamp) if found is None else found

    def drop(self, name: str, version: int) -> bool:
        """Forget a version; True when it was in memory."""
        with self._lock:
            return self._remove((name, version))

    def drop_gone(self) -> list[tuple[str, int]]:
        """Forget the versions that are no longer stored, or were replaced; returns them as (name, version)."""
        gone = [key for key in list(self._models) if not self.store.has(*key, stamp=self._models[key].stamp)]
        return [key for key in gone if self.drop(*key)]

    def held(self) -> list[tuple[str, int]]:
        """What is in memory, as (name, version)."""
        return sorted(self._models)

    def _find(self, key: tuple[str, int], stamp: ManifestStamp) -> LoadedModel | None:
        with self._lock:
            entry = self._models.get(key)
            if entry is None or entry.stamp != stamp:
                return None
            self._models.move_to_end(key)
            return entry.model

    def _load(self, key: tuple[str, int], stamp: ManifestStamp) -> LoadedModel:
        manifest, ubj = self.store.load(*key)
        model = LoadedModel(manifest, ubj)
        size = max(LEAST_BYTES, BYTES_PER_FILE_BYTE * len(ubj))
        with self._lock:
            self._remove(key)
            self._models[key] = _Cached(stamp, model, size)
            self.size += size
            while self.size > self.max_bytes and len(self._models) > 1:
                self._remove(next(iter(self._models)))
                self.evicted += 1
        return model

    def _remove(self, key: tuple[str, int]) -> bool:
        entry = self._models.pop(key, None)
        if entry is not None:
            self.size -= entry.size
        return entry is not None
