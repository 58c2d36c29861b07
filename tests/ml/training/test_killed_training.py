"""A process that trains is killed without warning; the next one goes on where its last checkpoint is."""

import signal
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from seedcore.ml.registry.model_store import ModelStore

_TRAIN = """
import sys
from functools import partial
from pathlib import Path
from seedcore.ml.training import train_job
from seedcore.schemas.ml.models import TrainRequest
from seedcore.settings import load_settings

train_job.job_folder = partial(train_job.job_folder, interval_s=0.01)
params = {"num_boost_round": 400}
request = TrainRequest(name="m", data_source="bundled:breast_cancer", label_column="target", params=params)
def progress(done, total, note):
    print(done, total, flush=True)
settings = load_settings(data_dir=Path(sys.argv[1]))
print("version", train_job.run_train_job(request, settings, sys.argv[2], "default", progress).version)
"""


def start(folder: Path, job: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", _TRAIN, str(folder), job]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.integration
def test_a_killed_training_is_gone_on_with_and_stored_once(tmp_path: Path):
    job = str(uuid4())
    with start(tmp_path, job) as first:
        assert first.stdout is not None
        for line in first.stdout:
            if int(line.split()[0]) == 300:
                first.send_signal(signal.SIGKILL)
                break
        seen = [int(line.split()[0]) for line in first.stdout]
    with start(tmp_path, job) as second:
        assert second.stdout is not None
        lines = second.stdout.read().splitlines()
    assert 1 < int(lines[0].split()[0]) <= max([300, *seen]) + 1
    assert lines[-2:] == ["800 800", "version 1"]
    store = ModelStore(tmp_path / "models")
    assert store.versions("m") == [1]
    assert not list((tmp_path / "models" / ".jobs").iterdir())
