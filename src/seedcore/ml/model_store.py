"""The models on disk: `{name}/{version}/model.ubj` beside `manifest.json`.

A version's folder is made first, exclusively, and so claims the number among concurrent trainers. The files come
together, by renaming a finished temporary folder over the empty one: a version is there whole or not at all.
Deleting empties the folder and leaves it, so that a number never means two models.
"""

import errno
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from pydantic import BaseModel, ValidationError

from seedcore.errors import ConflictError, InvalidInputError, NotFoundError, UnavailableError
from seedcore.schemas.ml import NAME_PATTERN, BrokenModel, Label, LabelKind, Task

MODEL, MANIFEST = "model.ubj", "manifest.json"
MAX_VERSIONS = 1000
_TEMPORARY = ".new-"
_STALE_S = 6 * 3600
_NAME = re.compile(NAME_PATTERN.removesuffix("$"))


class Manifest(BaseModel):
    """What the registry knows about one version."""

    name: str
    version: int
    created_at: datetime
    task: Task
    features: list[str]
    label_column: str
    label_kind: LabelKind
    labels: list[Label]
    params: dict[str, float | int]
    metrics: dict[str, float]
    n_rows: int
    sha256: str
    size_bytes: int
    xgboost_version: str


@dataclass(frozen=True, slots=True)
class Stamp:
    """Identity of a manifest file: it changes when another process deletes or replaces the version."""

    inode: int
    modified_ns: int


class ModelRegistry:
    """The models under one folder. Any number of processes may use it at once."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def prepare(self) -> None:
        """Make the folder, and remove what trainers that died have left in it.

        Raises:
            UnavailableError: the folder cannot be made or written.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            probe = self.root / f"{_TEMPORARY}{uuid.uuid4().hex}"
            probe.mkdir()
            probe.rmdir()
            for leftover in self.root.glob(f"*/{_TEMPORARY}*"):
                if time.time() - leftover.stat().st_mtime > _STALE_S:
                    shutil.rmtree(leftover, ignore_errors=True)
        except OSError as error:
            raise _unusable(self.root, error) from error

    def save(self, ubj: bytes, draft: Manifest) -> Manifest:
        """Store a model under the next number of its name; `draft`'s version, sha256 and size are filled in.

        Raises:
            ConflictError: the name has too many versions, or was taken away meanwhile.
            UnavailableError: the disk refuses.
        """
        home = self._home(draft.name)
        try:
            home.mkdir(parents=True, exist_ok=True)
            if len(self.versions(draft.name)) >= MAX_VERSIONS:
                raise ConflictError(f"Model {draft.name!r} has {MAX_VERSIONS} versions, the most allowed: delete some.")
            version = self._claim(home)
            digest = sha256(ubj).hexdigest()
            manifest = draft.model_copy(update={"version": version, "sha256": digest, "size_bytes": len(ubj)})
            temporary = home / f"{_TEMPORARY}{uuid.uuid4().hex}"
            temporary.mkdir()
            _write(temporary / MODEL, ubj)
            _write(temporary / MANIFEST, manifest.model_dump_json(indent=1).encode())
            _sync_folder(temporary)
            temporary.rename(home / str(version))
            _sync_folder(home)
        except OSError as error:
            raise _unusable(self.root, error) from error
        return manifest

    def _claim(self, home: Path) -> int:
        while True:
            number = 1 + max((int(p.name) for p in home.iterdir() if p.name.isdecimal()), default=0)
            try:
                (home / str(number)).mkdir()
            except FileExistsError:
                continue
            return number

    def versions(self, name: str) -> list[int]:
        """The versions of `name` that are there, ascending; none when the name is unknown."""
        home = self._home(name)
        try:
            numbers = [int(p.name) for p in home.iterdir() if p.name.isdecimal()]
        except FileNotFoundError:
            return []
        return sorted(n for n in numbers if (home / str(n) / MANIFEST).exists())

    def latest(self, name: str) -> int:
        """The newest version of `name`.

        Raises:
            NotFoundError: there is none.
        """
        home = self._home(name)
        try:
            numbers = sorted((int(p.name) for p in home.iterdir() if p.name.isdecimal()), reverse=True)
        except FileNotFoundError:
            numbers = []
        for number in numbers:
            if (home / str(number) / MANIFEST).exists():
                return number
        raise NotFoundError(f"There is no model {name!r}. `GET /ml/xgboost/list_models` lists those there are.")

    def stamp(self, name: str, version: int) -> Stamp:
        """The identity of a version's manifest.

        Raises:
            NotFoundError: there is no such version.
        """
        try:
            facts = (self._home(name) / str(version) / MANIFEST).stat()
        except FileNotFoundError:
            raise self._missing(name, version) from None
        return Stamp(facts.st_ino, facts.st_mtime_ns)

    def manifest(self, name: str, version: int) -> Manifest:
        """A version's manifest.

        Raises:
            NotFoundError: there is no such version.
            ConflictError: the file is damaged.
        """
        try:
            text = (self._home(name) / str(version) / MANIFEST).read_bytes()
        except FileNotFoundError:
            raise self._missing(name, version) from None
        try:
            return Manifest.model_validate_json(text)
        except ValidationError as error:
            raise damaged(name, version, f"its manifest does not read ({error.error_count()} errors)") from None

    def load(self, name: str, version: int) -> tuple[Manifest, bytes]:
        """A version's manifest and model, held against the manifest's SHA-256.

        Raises:
            NotFoundError: there is no such version.
            ConflictError: the files are damaged.
        """
        manifest = self.manifest(name, version)
        try:
            ubj = (self._home(name) / str(version) / MODEL).read_bytes()
        except FileNotFoundError:
            if (self._home(name) / str(version) / MANIFEST).exists():
                raise damaged(name, version, f"{MODEL} is not there") from None
            raise self._missing(name, version) from None
        if sha256(ubj).hexdigest() != manifest.sha256:
            raise damaged(name, version, f"{MODEL} does not have the SHA-256 of its manifest")
        return manifest, ubj

    def delete(self, name: str, version: int | None = None) -> list[int]:
        """Delete one version, or all of `name`; the numbers deleted.

        Raises:
            NotFoundError: there is nothing to delete.
        """
        there = self.versions(name)
        if version is not None and version not in there:
            raise self._missing(name, version)
        if not there:
            self.latest(name)
        doomed = there if version is None else [version]
        try:
            for number in doomed:
                folder = self._home(name) / str(number)
                # The manifest first: without it a version does not exist, whatever happens next.
                (folder / MANIFEST).unlink(missing_ok=True)
                (folder / MODEL).unlink(missing_ok=True)
        except OSError as error:
            raise _unusable(self.root, error) from error
        return doomed

    def names(self) -> Iterator[str]:
        """The names that have a version, in order."""
        try:
            found = sorted(p.name for p in self.root.iterdir() if _NAME.fullmatch(p.name) and p.is_dir())
        except FileNotFoundError:
            return
        yield from (name for name in found if self.versions(name))

    def newest(self) -> tuple[list[Manifest], list[BrokenModel]]:
        """The newest manifest of each name, and those that cannot be read."""
        good, broken = [], []
        for name in self.names():
            version = self.latest(name)
            try:
                good.append(self.manifest(name, version))
            except ConflictError as error:
                broken.append(BrokenModel(name=name, version=version, reason=error.detail))
        return good, broken

    def _home(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            message = "1 to 64 letters, digits, dots, dashes and underscores, a letter or digit first"
            raise InvalidInputError.for_field("name", message)
        return self.root / name

    def _missing(self, name: str, version: int) -> NotFoundError:
        there = self.versions(name)
        if not there:
            return NotFoundError(f"There is no model {name!r}.")
        return NotFoundError(f"Model {name!r} has no version {version}; it has {', '.join(map(str, there[-20:]))}.")


def now() -> datetime:
    """The time that goes into a manifest."""
    return datetime.now(UTC)


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def damaged(name: str, version: int, why: str) -> ConflictError:
    """The error for a version whose files cannot be used."""
    return ConflictError(f"Model {name!r} version {version} is damaged: {why}. Delete the version and train it again.")


def _unusable(root: Path, error: OSError) -> UnavailableError:
    code = errno.errorcode.get(error.errno or 0, "?")
    return UnavailableError(f"The model folder {root} (XGB_STORAGE_PATH) cannot be used: {code} {error.strerror}.")
