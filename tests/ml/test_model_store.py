import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from seedcore.errors import ConflictError, InvalidInputError, NotFoundError, UnavailableError
from seedcore.ml import model_store as module
from seedcore.ml.model_store import MANIFEST, MODEL, Manifest, ModelRegistry, now


def draft(name: str = "m") -> Manifest:
    return Manifest(
        name=name,
        version=0,
        created_at=now(),
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
def registry(tmp_path: Path) -> ModelRegistry:
    made = ModelRegistry(tmp_path / "models")
    made.prepare()
    return made


def test_what_is_saved_is_loaded_again(registry: ModelRegistry):
    saved = registry.save(b"model", draft())
    assert registry.load("m", 1) == (saved, b"model")
    assert (saved.version, saved.size_bytes, registry.latest("m")) == (1, 5, 1)
    assert saved.labels == [0, 1]


def test_concurrent_trainers_get_different_numbers(registry: ModelRegistry):
    with ThreadPoolExecutor(8) as pool:
        saved = list(pool.map(lambda i: registry.save(b"%d" % i, draft()), range(40)))
    assert sorted(m.version for m in saved) == list(range(1, 41))
    for i, manifest in enumerate(saved):
        assert registry.load("m", manifest.version)[1] == b"%d" % i


def test_another_process_sees_a_new_version_at_once(registry: ModelRegistry):
    other = ModelRegistry(registry.root)
    registry.save(b"a", draft())
    assert other.latest("m") == 1
    registry.save(b"b", draft())
    assert other.latest("m") == 2


def test_a_trainer_that_dies_before_the_rename_leaves_no_version(registry: ModelRegistry, monkeypatch):
    def die(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_sync_folder", die)
    with pytest.raises(KeyboardInterrupt):
        registry.save(b"model", draft())
    monkeypatch.undo()
    assert registry.versions("m") == []
    assert list(registry.names()) == []
    with pytest.raises(NotFoundError):
        registry.latest("m")
    assert registry.save(b"model", draft()).version == 2
    leftover = next(registry.root.glob("m/.new-*"))
    registry.prepare()
    assert leftover.exists(), "a trainer may still be at it"
    old = time.time() - 7 * 3600
    os.utime(leftover, (old, old))
    registry.prepare()
    assert not leftover.exists()


def test_a_number_is_never_given_out_again(registry: ModelRegistry):
    for _ in range(3):
        registry.save(b"model", draft())
    assert registry.delete("m", 3) == [3]
    assert registry.latest("m") == 2
    assert registry.save(b"model", draft()).version == 4
    assert registry.delete("m") == [1, 2, 4]
    assert list(registry.names()) == []
    assert registry.save(b"model", draft()).version == 5


@pytest.mark.parametrize("name", ["../m", "a/b", "", ".hidden", "a" * 65, "m\n", "a b"])
def test_names_that_could_leave_the_folder_are_refused(registry: ModelRegistry, name: str):
    for call in (lambda: registry.latest(name), lambda: registry.delete(name), lambda: registry.load(name, 1)):
        with pytest.raises(InvalidInputError):
            call()


def test_what_is_not_there_is_not_found(registry: ModelRegistry):
    registry.save(b"model", draft())
    with pytest.raises(NotFoundError, match="it has 1"):
        registry.load("m", 9)
    with pytest.raises(NotFoundError, match="no model 'other'"):
        registry.load("other", 1)
    with pytest.raises(NotFoundError):
        registry.delete("m", 2)
    with pytest.raises(NotFoundError):
        registry.delete("other")


def test_a_model_that_was_changed_on_disk_is_not_loaded(registry: ModelRegistry):
    registry.save(b"model", draft())
    (registry.root / "m" / "1" / MODEL).write_bytes(b"evil!")
    with pytest.raises(ConflictError, match="SHA-256"):
        registry.load("m", 1)
    (registry.root / "m" / "1" / MODEL).unlink()
    with pytest.raises(ConflictError, match="not there"):
        registry.load("m", 1)


def test_a_broken_manifest_is_listed_as_broken(registry: ModelRegistry):
    registry.save(b"model", draft("good"))
    registry.save(b"model", draft("bad"))
    path = registry.root / "bad" / "1" / MANIFEST
    path.write_text(json.dumps({"name": "bad"}))
    good, broken = registry.newest()
    assert [m.name for m in good] == ["good"]
    assert [(b.name, b.version) for b in broken] == [("bad", 1)]


def test_the_count_of_versions_is_bounded(registry: ModelRegistry, monkeypatch):
    monkeypatch.setattr(module, "MAX_VERSIONS", 2)
    registry.save(b"a", draft())
    registry.save(b"b", draft())
    with pytest.raises(ConflictError, match="delete some"):
        registry.save(b"c", draft())


def test_a_folder_that_cannot_be_used_names_the_setting(tmp_path: Path):
    (tmp_path / "file").write_text("")
    registry = ModelRegistry(tmp_path / "file" / "models")
    with pytest.raises(UnavailableError, match="XGB_STORAGE_PATH"):
        registry.prepare()
    with pytest.raises(UnavailableError, match="XGB_STORAGE_PATH"):
        registry.save(b"model", draft())
