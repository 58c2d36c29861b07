"""Imports models that were trained elsewhere: files of `.import` in the model folder, which are checked as hostile.

XGBoost ends the process, or worse, on many damaged files. So a file is loaded and judged in a process of its own
(`import_probe`), which has little memory, time and no right to write; what is stored is what that process saved again.
"""

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ValidationError

from seedcore import __version__
from seedcore.errors import InvalidInputError, NotFoundError, UnavailableError
from seedcore.ml.data.column_encoder import is_storable
from seedcore.ml.registry.import_probe import MAX_BYTES, REFUSED, TIME_LIMIT_S
from seedcore.ml.registry.model_files import storage_error
from seedcore.ml.registry.model_manifest import Lineage, ModelManifest
from seedcore.ml.registry.model_store import ModelStore
from seedcore.schemas.ml.models import Column, Label, LabelKind, Task

FOLDER = ".import"
_SUFFIXES = (".ubj", ".json")
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR)


class ProbedModel(BaseModel):
    """What the probe found in a file."""

    task: Task
    features: list[str]
    types: list[str]
    classes: int
    rounds: int
    xgboost_version: str


def import_model(store: ModelStore, name: str, path: str, labels: Sequence[Label] | None = None) -> ModelManifest:
    """Check a file of the import folder, and store its model as the next version of `name`.

    Args:
        store: where the model folder is.
        name: of the model.
        path: of the file, relative to `.import` in the model folder; it ends in `.ubj` or `.json`.
        labels: the classes in the order of their numbers; None: 0, 1, …

    Raises:
        InvalidInputError: the path leaves the folder or names no regular file, or the file is too large or no model.
        NotFoundError: there is no such file.
        UnavailableError: the folder cannot be read, or the process that checks could not be run.
    """
    content = _read(store.root / FOLDER, path)
    found, ubj = _probe(content)
    kind, classes = _labels(found, labels)
    manifest = ModelManifest(
        name=name,
        version=0,
        created_at=datetime.now(UTC),
        task=found.task,
        features=found.features,
        label_column="label",
        label_kind=kind,
        labels=classes,
        params={"num_boost_round": found.rounds},
        metrics={},
        n_rows=0,
        sha256="",
        size_bytes=0,
        xgboost_version=found.xgboost_version,
        columns=[
            Column(name=column, type="boolean" if type_ == "i" else "number")
            for column, type_ in zip(found.features, found.types, strict=True)
        ],
        lineage=Lineage(source="import", query=path, code_version=__version__),
    )
    return store.save(ubj, manifest)


def _read(folder: Path, path: str) -> bytes:
    parts = path.split("/")
    if "\0" in path or path.startswith("/") or any(part in ("", ".", "..") for part in parts):
        raise _wrong(f"must be a path below {folder}, without `..`")
    if not parts[-1].lower().endswith(_SUFFIXES):
        raise _wrong("must end in .ubj or .json")
    try:
        handle = _open(folder, parts)
    except UnicodeEncodeError:
        raise _wrong("must name a file") from None
    except OSError as error:
        if error.errno in _NOT_THERE:
            raise NotFoundError(f"There is no file {path!r} in {folder}.") from None
        if error.errno in (errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO):
            raise _wrong(f"must name a regular file, without symbolic links on the way, in {folder}") from None
        raise storage_error(folder, error) from error
    try:
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode):
            raise _wrong(f"must name a regular file in {folder}")
        if facts.st_size > MAX_BYTES:
            raise _wrong(f"must name a file of at most {MAX_BYTES} bytes")
        with os.fdopen(os.dup(handle), "rb") as file:
            content = file.read(MAX_BYTES + 1)
    finally:
        os.close(handle)
    if len(content) > MAX_BYTES:
        raise _wrong(f"must name a file of at most {MAX_BYTES} bytes")
    return content


def _open(folder: Path, parts: Sequence[str]) -> int:
    """A handle of a file, reached from folder to folder without following a symbolic link."""
    here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in parts[:-1]:
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=here)
            os.close(here)
            here = inner
        # A pipe or device would otherwise wait for its other end.
        return os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=here)
    finally:
        os.close(here)


def _probe(content: bytes) -> tuple[ProbedModel, bytes]:
    command = [sys.executable, "-I", "-m", "seedcore.ml.registry.import_probe"]
    environment = {"OMP_NUM_THREADS": "1", "PATH": os.defpath, "PYTHONPATH": ""}
    try:
        done = subprocess.run(
            command, input=content, capture_output=True, timeout=TIME_LIMIT_S, env=environment, cwd="/", check=False
        )
    except subprocess.TimeoutExpired:
        raise _wrong(f"cannot be checked within {TIME_LIMIT_S:g} s") from None
    except OSError as error:
        raise UnavailableError(f"No process could be started to check the file: {error.strerror}.") from error
    if done.returncode == REFUSED:
        raise _wrong(done.stderr.decode(errors="replace").strip()[:500] or "is no model that can be used")
    facts, _, ubj = done.stdout.partition(b"\n")
    if done.returncode != 0:
        how = f"signal {-done.returncode}" if done.returncode < 0 else f"status {done.returncode}"
        raise _wrong(f"is no model that XGBoost can load: the process that tried ended with {how}")
    try:
        return ProbedModel.model_validate_json(facts), ubj
    except ValidationError:
        raise _wrong("is no model that XGBoost can load") from None


def _labels(found: ProbedModel, given: Sequence[Label] | None) -> tuple[LabelKind, list[Label]]:
    if found.task == "regression":
        if given:
            raise InvalidInputError.for_field("labels", "a regression has none")
        return "number", []
    if given is None:
        return "integer", list(range(found.classes))
    kinds = {type(label) for label in given}
    if len(given) != found.classes or len(set(given)) != len(given):
        raise InvalidInputError.for_field("labels", f"must be {found.classes} different labels, one a class")
    if kinds <= {bool}:
        return "boolean", list(given)
    if kinds <= {int} and all(-(2**63) <= label < 2**63 for label in given if isinstance(label, int)):
        return "integer", list(given)
    if kinds <= {str} and all(is_storable(label) for label in given if isinstance(label, str)):
        return "string", list(given)
    raise InvalidInputError.for_field(
        "labels", "must be all text without U+0000, all integers of 64 bits or all booleans"
    )


def _wrong(message: str) -> InvalidInputError:
    return InvalidInputError.for_field("path", message)
