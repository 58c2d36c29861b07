"""A killed training goes on where its last checkpoint is, and one job has one version."""

import threading
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
import xgboost

from seedcore.errors import DeadlineError, InvalidInputError, UnavailableError
from seedcore.ml.data.dataset import ColumnRoles, Table, TrainLimits
from seedcore.ml.data.inline_rows import from_rows
from seedcore.ml.registry.model_store import ModelStore
from seedcore.ml.training import train_job
from seedcore.ml.training.checkpoints import JobCheckpoint, job_folder
from seedcore.ml.training.train import TrainedModel, TrainingOptions, train
from seedcore.ml.training.xgboost_params import resolve_params
from seedcore.schemas.ml.models import TrainRequest
from seedcore.settings import Settings
from tests.ml.support import flowers


class Killed(BaseException):
    """Stands for the end of the process."""


def table(seed: int = 0) -> Table:
    made = flowers(n=200, seed=seed)
    return from_rows(made["columns"], made["rows"], ColumnRoles("kind"), TrainLimits(1000))


PARAMS = resolve_params({"num_boost_round": 10})


def run(folder: Path, kill_at: int | None = None, early: int | None = None, seed: int = 0) -> tuple[TrainedModel, list]:
    """A training that is killed after `kill_at` rounds; (model, rounds that it reported)."""
    seen = list[int]()

    def report(done: int, _total: int) -> None:
        seen.append(done)
        if kill_at is not None and len(seen) > kill_at:
            raise Killed

    checkpoint = JobCheckpoint(folder, interval_s=0, spacing=0)
    options = TrainingOptions(report=report, checkpoint=checkpoint, early_stopping=early)
    return train(table(seed), PARAMS, threading.Event(), options), seen


def same(one: TrainedModel, other: TrainedModel) -> None:
    rows = table().matrix
    left, right = (xgboost.Booster(model_file=bytearray(m.ubj)).inplace_predict(rows) for m in (one, other))
    assert np.allclose(left, right, atol=1e-5)
    assert one.metrics == pytest.approx(other.metrics, rel=1e-4)


@pytest.mark.parametrize("early", [None, 3])
@pytest.mark.parametrize("kill_at", [0, 1, 4, 9, 10, 13])
def test_a_killed_training_goes_on_and_gives_the_same_model(tmp_path: Path, kill_at: int, early: int | None):
    whole, everything = run(tmp_path / "whole", early=early)
    if kill_at >= len(everything):
        return
    with pytest.raises(Killed):
        run(tmp_path / "job", kill_at, early)
    resumed, seen = run(tmp_path / "job", early=early)
    # The round that was reported last had no checkpoint yet.
    assert seen == everything[kill_at:]
    same(whole, resumed)


def test_a_checkpoint_of_other_data_counts_for_nothing(tmp_path: Path):
    with pytest.raises(Killed):
        run(tmp_path, 12)
    _, seen = run(tmp_path, seed=5)
    assert seen[0] == 1


@pytest.mark.parametrize("damage", ["missing", "state"])
def test_a_damaged_checkpoint_is_left_aside(tmp_path: Path, damage: str):
    with pytest.raises(Killed):
        run(tmp_path, 5)
    if damage == "state":
        (tmp_path / "state.json").write_text("{")
    else:
        for booster in tmp_path.glob("booster-*"):
            booster.unlink()
    trained, seen = run(tmp_path)
    assert seen[0] == 1
    assert trained.metrics["accuracy"] > 0.9


def test_a_job_has_one_process_at_a_time_and_leaves_nothing(tmp_path: Path):
    job = str(uuid4())
    with job_folder(tmp_path, job) as checkpoint:
        assert checkpoint.folder.is_dir()
        with pytest.raises(UnavailableError, match="still works"), job_folder(tmp_path, job):
            pytest.fail("two at once")
    assert not checkpoint.folder.exists()


def test_what_may_succeed_later_keeps_its_checkpoint_and_what_cannot_does_not(tmp_path: Path):
    for error, stays in ((UnavailableError("later"), True), (InvalidInputError.for_field("x", "never"), False)):
        with pytest.raises(type(error)), job_folder(tmp_path, str(uuid4())) as checkpoint:
            raise error
        assert checkpoint.folder.exists() is stays


def test_one_job_stores_one_version(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    request = TrainRequest(name="flowers", params={"num_boost_round": 3}, **flowers())
    job = str(uuid4())
    first = train_job.run_train_job(request, settings, job, "default", lambda *_: None)
    assert first.lineage.job_id == job
    # As if it had been killed between storing and its end.
    monkeypatch.setattr(train_job, "read_blocking", lambda *_: pytest.fail("trained twice"))
    again = train_job.run_train_job(request, settings, job, "default", lambda *_: None)
    assert again == first
    assert ModelStore(settings.models_dir).versions("flowers") == [1]
    assert list(ModelStore(settings.models_dir).names()) == ["flowers"]


def test_a_stopped_training_keeps_its_checkpoint(tmp_path: Path):
    stop = threading.Event()

    def report(done: int, _total: int) -> None:
        if done == 4:
            stop.set()

    checkpoint = JobCheckpoint(tmp_path, interval_s=0, spacing=0)
    with pytest.raises(DeadlineError):
        train(table(), PARAMS, stop, TrainingOptions(report=report, checkpoint=checkpoint))
    assert (tmp_path / "state.json").exists()


def test_the_reference_rows_are_read_without_pickle(settings: Settings):
    request = TrainRequest(name="flowers", params={"num_boost_round": 3}, **flowers())
    manifest = train_job.run_train_job(request, settings, str(uuid4()), "default", lambda *_: None)
    stored = np.load(settings.models_dir / "flowers" / "1" / "reference.npz", allow_pickle=False)["features"]
    assert stored.shape == (manifest.reference, 3) == (90, 3)
