"""What a training job keeps on disk, so that its next attempt goes on where a killed one was."""

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from pydantic import BaseModel, ValidationError

from seedcore.errors import InvalidInputError, UnavailableError

JOBS = ".jobs"
"""The folder of the model folder that holds one folder for each job; it is no model's."""

STALE_S = 7 * 86_400
INTERVAL_S = 5.0


class CheckpointState(BaseModel):
    """Where a job is.

    Attributes:
        key: what is trained on what; a checkpoint of another key counts for nothing.
        stage: which of the two fits is going on: 0 measures, 1 is stored.
        rounds: done of this fit.
        before: rounds of the first fit, in the second one.
        target: rounds of the second fit.
        best_round: count of rounds that was best on the stopping rows so far, and its score.
        facts: what the first fit found, as JSON.
    """

    key: str
    stage: int = 0
    rounds: int = 0
    before: int = 0
    target: int = 0
    best_round: int = 0
    best_score: float | None = None
    facts: str | None = None


@dataclass(slots=True)
class JobCheckpoint:
    """The checkpoint of one job: two files, the booster first, the state that names it last.

    Args:
        folder: of the job.
        interval_s: seconds between checkpoints, at least.
        spacing: how many times as long as a checkpoint took is between it and the next one, at least.
    """

    folder: Path
    interval_s: float = INTERVAL_S
    spacing: float = 20.0
    _saved_at: float = field(default_factory=time.monotonic)
    _cost: float = 0.0

    def load(self, key: str) -> tuple[CheckpointState, bytes | None] | None:
        """(state, booster in UBJSON; None at the beginning of a fit) of `key`; None: there is none that can be used."""
        try:
            state = CheckpointState.model_validate_json((self.folder / "state.json").read_bytes())
            if state.key != key:
                return None
            if not state.rounds:
                return state, None
            booster = (self.folder / f"booster-{state.stage}-{state.rounds}.ubj").read_bytes()
        except (FileNotFoundError, ValidationError):
            return None
        return state, booster

    @property
    def due(self) -> bool:
        """Whether it is time for another one."""
        return time.monotonic() - self._saved_at >= max(self.interval_s, self.spacing * self._cost)

    def save(self, state: CheckpointState, booster: bytes | None) -> None:
        """Keep where the job is, as a whole or not at all.

        Raises:
            UnavailableError: the disk cannot be written.
        """
        began = time.monotonic()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            name = f"booster-{state.stage}-{state.rounds}.ubj"
            if booster is not None:
                _replace(self.folder / name, booster)
            _replace(self.folder / "state.json", state.model_dump_json().encode())
            for old in self.folder.glob("booster-*.ubj"):
                if old.name != name:
                    old.unlink(missing_ok=True)
        except OSError as error:
            raise UnavailableError(f"A checkpoint in {self.folder} cannot be written: {error.strerror}.") from error
        self._saved_at = time.monotonic()
        self._cost = self._saved_at - began


@contextmanager
def job_folder(models: Path, job_id: str, interval_s: float = INTERVAL_S) -> Iterator[JobCheckpoint]:
    """The job's folder, for one process at a time; it goes when the work ends well or cannot be done at all.

    Raises:
        UnavailableError: another process still works on the job, or the disk cannot be written.
    """
    folder = models / JOBS / str(UUID(job_id))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        clear_stale(models)
        lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        raise UnavailableError(f"The folder {folder} cannot be used: {error.strerror}.") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UnavailableError(f"Another attempt of job {job_id} still works on it.", retry_after_s=5) from None
        try:
            yield JobCheckpoint(folder, interval_s)
        except InvalidInputError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)


def clear_stale(models: Path) -> None:
    """Remove what jobs left that were cancelled or given up, after a week."""
    for folder in (models / JOBS).glob("*"):
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime > STALE_S:
                shutil.rmtree(folder, ignore_errors=True)


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.new")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
