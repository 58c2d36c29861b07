import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from seedcore.errors import ConflictError, InvalidInputError, NotFoundError, UnavailableError
from seedcore.ml.registry import model_store as module
from seedcore.ml.registry.model_manifest import ModelManifest
from seedcore.ml.registry.model_store import MANIFEST, MODEL, ModelStore


def draft(name: str = "m") -> ModelManifest:
    return ModelManifest(
        name=name,
        version=0,
        created_at=datetime.now(UTC),
        task="binary",
        features=["x"],
        label_column="y",
        label_kind="integer",
        labels=[0, 1],
        params={},
        metrics={},
        n_rows=10,
        sha256="",
        size_bytes=0,
        xgboost_version="3",
    )


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    made = ModelStore(tmp_path / "models")
    made.prepare()
    return made


def test_what_is_saved_is_loaded_again(store: ModelStore):
    saved = store.save(b"model", draft())
    assert store.load("m", 1) == (saved, b"model")
    assert (saved.version, saved.size_bytes, store.latest("m")) == (1, 5, 1)
    assert saved.labels == [0, 1]


def test_concurrent_trainers_get_different_numbers(store: ModelStore):
    with ThreadPoolExecutor(8) as pool:
        saved = list(pool.map(lambda i: store.save(b"%d" % i, draft()), range(40)))
    assert sorted(m.version for m in saved) == list(range(1, 41))
    for i, manifest in enumerate(saved):
        assert store.load("m", manifest.version)[1] == b"%d" % i


def test_another_process_sees_a_new_version_at_once(store: ModelStore):
    other = ModelStore(store.root)
    store.save(b"a", draft())
    assert other.latest("m") == 1
    store.save(b"b", draft())
    assert other.latest("m") == 2


def test_a_trainer_that_dies_before_the_rename_leaves_no_version(store: ModelStore, monkeypatch):
    def die(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "sync_folder", die)
    with pytest.raises(KeyboardInterrupt):
        store.save(b"model", draft())
    monkeypatch.undo()
    assert store.versions("m") == []
    assert list(store.names()) == []
    with pytest.raises(NotFoundError):
        store.latest("m")
    assert store.save(b"model", draft()).version == 2
    leftover = next(store.root.glob("m/.new-*"))
    store.prepare()
    assert leftover.exists(), "a trainer may still be at it"
    old = time.time() - 7 * 3600
    os.utime(leftover, (old, old))
    store.prepare()
    assert not leftover.exists()


def test_a_number_is_never_given_out_again(store: ModelStore):
    for _ in range(3):
        store.save(b"model", draft())
    assert store.delete("m", 3) == [3]
    assert store.latest("m") == 2
    assert store.save(b"model", draft()).version == 4
    assert store.delete("m") == [1, 2, 4]
    assert list(store.names()) == []
    assert store.save(b"model", draft()).version == 5


@pytest.mark.parametrize("name", ["../m", "a/b", "", ".hidden", "a" * 65, "m\n", "a b"])
def test_names_that_could_leave_the_folder_are_refused(store: ModelStore, name: str):
    for call in (lambda: store.latest(name), lambda: store.delete(name), lambda: store.load(name, 1)):
        with pytest.raises(InvalidInputError):
            call()


def test_what_is_not_there_is_not_found(store: ModelStore):
    store.save(b"model", draft())
    with pytest.raises(NotFoundError, match="it has 1"):
        store.load("m", 9)
    with pytest.raises(NotFoundError, match="no model 'other'"):
        store.load("other", 1)
    with pytest.raises(NotFoundError):
        store.delete("m", 2)
    with pytest.raises(NotFoundError):
        store.delete("other")


def test_a_model_that_was_changed_on_disk_is_not_loaded(store: ModelStore):
    store.save(b"model", draft())
    (store.root / "m" / "1" / MODEL).write_bytes(b"evil!")
    with pytest.raises(ConflictError, match="SHA-256"):
        store.load("m", 1)
    (store.root / "m" / "1" / MODEL).unlink()
    with pytest.raises(ConflictError, match="is missing"):
        store.load("m", 1)


def test_a_broken_manifest_is_listed_as_broken(store: ModelStore):
    store.save(b"model", draft("good"))
    store.save(b"model", draft("bad"))
    path = store.root / "bad" / "1" / MANIFEST
    path.write_text(json.dumps({"name": "bad"}))
    good, broken = store.newest()
    assert [m.name for m in good] == ["good"]
    assert [(b.name, b.version) for b in broken] == [("bad", 1)]


def test_the_count_of_versions_is_bounded(store: ModelStore, monkeypatch):
    monkeypatch.setattr(module, "MAX_VERSIONS", 2)
    store.save(b"a", draft())
    store.save(b"b", draft())
    with pytest.raises(ConflictError, match="delete some"):
        store.save(b"c", draft())


def test_a_folder_that_cannot_be_used_names_the_setting(tmp_path: Path):
    (tmp_path / "file").write_text("")
    store = ModelStore(tmp_path / "file" / "models")
    with pytest.raises(UnavailableError, match="XGB_STORAGE_PATH"):
        store.prepare()
    with pytest.raises(UnavailableError, match="XGB_STORAGE_PATH"):
        store.save(b"model", draft())
