"""A process that is killed while it stores a version leaves a whole one or none, and stops nobody."""

import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from seedcore.errors import NotFoundError
from seedcore.ml.registry.model_manifest import ModelManifest
from seedcore.ml.registry.model_store import ModelStore

SAVE = """
import os, signal, sys
from pathlib import Path
from seedcore.ml.registry import model_store
from tests.ml.registry.test_killed_saves import draft

step, root = sys.argv[1], Path(sys.argv[2])
calls = 0

def after(name, limit):
    real = getattr(model_store, name)
    def call(*given):
        global calls
        real(*given)
        calls += 1
        if calls == limit:
            os.kill(os.getpid(), signal.SIGKILL)
    setattr(model_store, name, call)

kind, number = step.split(":")
if kind == "claim":
    real = model_store.ModelStore._claim
    def claim(self, home):
        real(self, home)
        os.kill(os.getpid(), signal.SIGKILL)
    model_store.ModelStore._claim = claim
else:
    after(kind, int(number))
model_store.ModelStore(root).save(b"{new}", draft(), b"reference")
"""


def draft() -> ModelManifest:
    return ModelManifest(
        name="m",
        version=0,
        created_at=datetime.now(UTC),
        task="regression",
        features=["x"],
        label_column="y",
        label_kind="number",
        labels=[],
        params={},
        metrics={},
        n_rows=1,
        sha256="",
        size_bytes=0,
        xgboost_version="3",
    )


@pytest.mark.integration
@pytest.mark.parametrize(
    ("step", "stored"),
    [
        ("claim:1", False),
        ("write_synced:1", False),
        ("write_synced:2", False),
        ("write_synced:3", False),
        ("sync_folder:1", False),
        ("sync_folder:2", True),
    ],
)
def test_a_killed_save_leaves_a_whole_version_or_none(tmp_path: Path, step: str, stored: bool) -> None:
    store = ModelStore(tmp_path)
    store.prepare()
    store.save(b"{old}", draft())
    done = subprocess.run([sys.executable, "-c", SAVE, step, str(tmp_path)], timeout=30, check=False)
    assert done.returncode == -signal.SIGKILL
    assert store.versions("m") == ([1, 2] if stored else [1])
    assert store.load("m", store.latest("m"))[1] == (b"{new}" if stored else b"{old}")
    if not stored:
        with pytest.raises(NotFoundError):
            store.manifest("m", 2)
    after = store.save(b"{next}", draft(), b"reference")
    assert after.version > 1
    assert store.load("m", store.latest("m"))[1] == b"{next}"
