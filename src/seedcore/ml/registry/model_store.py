"""Stores model files on disk: `{name}/{version}/model.ubj` next to `manifest.json`, and perhaps `reference.npz`.

A trainer claims a version number by creating its folder, which fails if another trainer was first. It then renames a
finished temporary folder over the empty one, so a version is complete or absent. Deleting empties the folder and keeps
it, so that a number never means two models. A process that is killed while it does either leaves a version or none.
"""

import contextlib
import io
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from seedcore.errors import ConflictError, InvalidInputError, NotFoundError
from seedcore.ml.registry.model_files import damaged_model, storage_error, sync_folder, write_synced
from seedcore.ml.registry.model_manifest import ModelManifest
from seedcore.schemas.ml.model_registry import BrokenModel
from seedcore.schemas.ml.models import NAME_PATTERN

MODEL, MANIFEST, REFERENCE = "model.ubj", "manifest.json", "reference.npz"
MAX_VERSIONS = 1000
_TEMPORARY = ".new-"
_STALE_S = 6 * 3600
_SETTLED_NS = 2_000_000_000
"""A folder that was changed so long ago shows every later change by its time, however coarse the file system's is."""
_NAME = re.compile(NAME_PATTERN.removesuffix("$"))


@dataclass(frozen=True, slots=True)
class ManifestStamp:
    """Identity of a manifest file; it changes when another process deletes or replaces the version."""

    inode: int
    modified_ns: int


class ModelStore:
    """The models under one folder. Several processes may use it at once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._base = str(root)
        self._newest: dict[str, tuple[int, int, int]] = {}

    @property
    def present(self) -> bool:
        """Whether this node has the folder."""
        return self.root.is_dir()

    def prepare(self) -> None:
        """Create the folder, and remove temporary files of trainers that died.

        Raises:
            UnavailableError: the folder cannot be created or written.
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
            raise storage_error(self.root, error) from error

    def save(self, ubj: bytes, draft: ModelManifest, reference: bytes | None = None) -> ModelManifest:
        """Store a model under the next number of its name; `draft`'s version, checksums and size are filled in.

        Args:
            ubj: the model, in XGBoost's UBJSON format.
            draft: what is known of it.
            reference: an npz file that is kept beside it, whose `features` (n, d) are rows as its inputs looked like.

        Raises:
            ConflictError: the name has too many versions.
            UnavailableError: the disk cannot be written.
        """
        home = self._home(draft.name)
        try:
            home.mkdir(parents=True, exist_ok=True)
            if len(self.versions(draft.name)) >= MAX_VERSIONS:
                raise ConflictError(f"Model {draft.name!r} has {MAX_VERSIONS} versions, the most allowed: delete some.")
            version = self._claim(home)
            facts: dict[str, object] = {"version": version, "sha256": sha256(ubj).hexdigest(), "size_bytes": len(ubj)}
            if reference is not None:
                facts["reference_sha256"] = sha256(reference).hexdigest()
            manifest = draft.model_copy(update=facts)
            temporary = home / f"{_TEMPORARY}{uuid.uuid4().hex}"
            temporary.mkdir()
            write_synced(temporary / MODEL, ubj)
            if reference is not None:
                write_synced(temporary / REFERENCE, reference)
            write_synced(temporary / MANIFEST, manifest.model_dump_json(indent=1).encode())
            sync_folder(temporary)
            temporary.rename(home / str(version))
            sync_folder(home)
        except OSError as error:
            raise storage_error(self.root, error) from error
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
        """The stored versions of `name`, ascending; empty when the name is unknown."""
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
            # Asked for with every prediction: texts and `os` take a third of the time that paths do.
            facts = os.stat(f"{self._base}/{name}")  # noqa: PTH116
            number, inode, changed = self._newest.get(name, (0, 0, 0))
            if inode == facts.st_ino and changed == facts.st_mtime_ns:
                with contextlib.suppress(FileNotFoundError):
                    os.stat(f"{self._base}/{name}/{number}/{MANIFEST}")  # noqa: PTH116
                    return number
            numbers = sorted((int(p.name) for p in home.iterdir() if p.name.isdecimal()), reverse=True)
        except FileNotFoundError:
            numbers = []
        for number in numbers:
            if (home / str(number) / MANIFEST).exists():
                # A new version changes the folder's time. One of this moment might change it to the time that it has.
                if time.time_ns() - facts.st_mtime_ns > _SETTLED_NS:
                    self._newest[name] = (number, facts.st_ino, facts.st_mtime_ns)
                return number
        raise NotFoundError(f"There is no model {name!r}. `GET /ml/xgboost/list_models` lists the models.")

    def stamp(self, name: str, version: int) -> ManifestStamp:
        """The identity of a version's manifest.

        Raises:
            NotFoundError: there is no such version.
        """
        check_name(name)
        try:
            facts = os.stat(f"{self._base}/{name}/{version}/{MANIFEST}")  # noqa: PTH116
        except FileNotFoundError:
            raise self._not_found(name, version) from None
        return ManifestStamp(facts.st_ino, facts.st_mtime_ns)

    def has(self, name: str, version: int, stamp: ManifestStamp | None = None) -> bool:
        """Whether the version is stored, and is still the one of `stamp`."""
        try:
            found = self.stamp(name, version)
        except NotFoundError:
            return False
        return stamp is None or found == stamp

    def manifest(self, name: str, version: int) -> ModelManifest:
        """A version's manifest.

        Raises:
            NotFoundError: there is no such version.
            ConflictError: the file is damaged.
        """
        try:
            text = (self._home(name) / str(version) / MANIFEST).read_bytes()
        except FileNotFoundError:
            raise self._not_found(name, version) from None
        try:
            return ModelManifest.model_validate_json(text)
        except ValidationError as error:
            raise damaged_model(name, version, f"its manifest cannot be read ({error.error_count()} errors)") from None

    def load(self, name: str, version: int) -> tuple[ModelManifest, bytes]:
        """A version's manifest and model, verified by the manifest's SHA-256.

        Raises:
            NotFoundError: there is no such version.
            ConflictError: the files are damaged.
        """
        manifest = self.manifest(name, version)
        try:
            ubj = (self._home(name) / str(version) / MODEL).read_bytes()
        except FileNotFoundError:
            if (self._home(name) / str(version) / MANIFEST).exists():
                raise damaged_model(name, version, f"{MODEL} is missing") from None
            raise self._not_found(name, version) from None
        if sha256(ubj).hexdigest() != manifest.sha256:
            raise damaged_model(name, version, f"{MODEL} does not have the SHA-256 of its manifest")
        return manifest, ubj

    def reference(self, name: str, version: int) -> NDArray[np.float32] | None:
        """(n, d) rows as the inputs of a version looked like, verified by the manifest's SHA-256; None: it has none.

        Raises:
            NotFoundError: there is no such version.
            ConflictError: the file is damaged.
        """
        manifest = self.manifest(name, version)
        if not manifest.reference_sha256:
            return None
        try:
            content = (self._home(name) / str(version) / REFERENCE).read_bytes()
        except FileNotFoundError:
            raise damaged_model(name, version, f"{REFERENCE} is missing") from None
        if sha256(content).hexdigest() != manifest.reference_sha256:
            raise damaged_model(name, version, f"{REFERENCE} does not have the SHA-256 of its manifest")
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return np.asarray(arrays["features"], dtype=np.float32)

    def delete(self, name: str, version: int | None = None) -> list[int]:
        """Delete one version, or all of `name`; the numbers deleted.

        Raises:
            NotFoundError: there is nothing to delete.
        """
        stored = self.versions(name)
        if version is not None and version not in stored:
            raise self._not_found(name, version)
        if not stored:
            self.latest(name)
        deleted = stored if version is None else [version]
        try:
            for number in deleted:
                folder = self._home(name) / str(number)
                # The manifest goes first: without it a version does not exist, whatever fails next.
                (folder / MANIFEST).unlink(missing_ok=True)
                for left in (MODEL, REFERENCE):
                    (folder / left).unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(self.root, error) from error
        return deleted

    def names(self) -> Iterator[str]:
        """The names that have a version, in order."""
        try:
            found = sorted(p.name for p in self.root.iterdir() if _NAME.fullmatch(p.name) and p.is_dir())
        except FileNotFoundError:
            return
        yield from (name for name in found if self.versions(name))

    def newest(self) -> tuple[list[ModelManifest], list[BrokenModel]]:
        """(newest manifest of each name, versions whose manifest cannot be read)."""
        readable, broken = [], []
        for name in self.names():
            version = self.latest(name)
            try:
                readable.append(self.manifest(name, version))
            except ConflictError as error:
                broken.append(BrokenModel(name=name, version=version, reason=error.detail))
        return readable, broken

    def _home(self, name: str) -> Path:
        check_name(name)
        return self.root / name

    def _not_found(self, name: str, version: int) -> NotFoundError:
        stored = self.versions(name)
        if not stored:
            return NotFoundError(f"There is no model {name!r}.")
        return NotFoundError(f"Model {name!r} has no version {version}; it has {', '.join(map(str, stored[-20:]))}.")


def check_name(name: str) -> None:
    """Refuse what is no name of a model, before it becomes part of a path.

    Raises:
        InvalidInputError: it is none.
    """
    if not _NAME.fullmatch(name):
        message = "must be 1 to 64 letters, digits, dots, dashes and underscores, beginning with a letter or digit"
        raise InvalidInputError.for_field("name", message)
