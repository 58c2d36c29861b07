"""Archives the model folder beside a backup of the database, and unpacks what is missing when that is restored.

A version is a folder `NAME/NUMBER` with `manifest.json`, written once and never changed; an empty one keeps the number
of a version that was deleted. The archive is made after the moment of the dump, and a version that an alias names is
never deleted: so each alias in the dump has its files in the archive.
"""

import contextlib
import hashlib
import os
import re
import shutil
import tarfile
import uuid
from collections.abc import Iterator
from pathlib import Path

from seedcore.errors import ConflictError, InvalidInputError, UnavailableError

MANIFEST = "manifest.json"
_VERSION = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,63})/([0-9]{1,9})")
_STAGE = ".restore-"


def pack(folder: Path, target: Path) -> dict[str, str]:
    """Write the model folder to `target`: SHA-256 of each manifest by `NAME/NUMBER`, "" of a version that was deleted.

    Raises:
        UnavailableError: a file cannot be read or written.
    """
    found: dict[str, str] = {}
    try:
        with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as archive:
            target.chmod(0o600)
            for name, version in _versions(folder):
                digest = _add(archive, name, version)
                if digest is not None:
                    found[name] = digest
    except OSError as error:
        raise UnavailableError(f"The model folder {folder} cannot be archived: {error}.") from error
    return found


def _versions(folder: Path) -> Iterator[tuple[str, Path]]:
    if not folder.is_dir():
        return
    for home in sorted(folder.iterdir()):
        for version in sorted(home.iterdir()) if home.is_dir() and not home.name.startswith(".") else ():
            name = f"{home.name}/{version.name}"
            if version.is_dir() and _VERSION.fullmatch(name):
                yield name, version


def _add(archive: tarfile.TarFile, name: str, version: Path) -> str | None:
    """Add a version that is complete; its digest, "" when it is deleted, None when that happens just now."""
    with contextlib.ExitStack() as opened:
        files = []
        for path in sorted(version.iterdir()):
            try:
                files.append((path.name, opened.enter_context(path.open("rb"))))
            except (FileNotFoundError, IsADirectoryError):
                continue
        manifest = next((file for file_name, file in files if file_name == MANIFEST), None)
        if manifest is None:
            if files:
                return None
            archive.addfile(_entry(name, tarfile.DIRTYPE))
            return ""
        digest = hashlib.file_digest(manifest, "sha256").hexdigest()
        for file_name, file in files:
            file.seek(0)
            entry = _entry(f"{name}/{file_name}", tarfile.REGTYPE)
            entry.size = os.fstat(file.fileno()).st_size
            archive.addfile(entry, file)
        return digest


def _entry(name: str, kind: bytes) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = kind, 0o755 if kind == tarfile.DIRTYPE else 0o644
    return entry


class Unpacking:
    """Unpacks an archive in two steps, so that nothing is in the way once the database is restored.

    Args:
        source: the archive.
        folder: the model folder; versions that it has stay as they are.
        versions: those of the archive, as `pack` gave them.

    Raises:
        ConflictError: the folder has another model under a number of the archive.
        InvalidInputError: the archive is not one that `pack` wrote.
        UnavailableError: the folder cannot be written.
    """

    def __init__(self, source: Path, folder: Path, versions: dict[str, str]) -> None:
        self._folder = folder
        self._missing = [name for name, digest in versions.items() if self._is_missing(name, digest)]
        self._stage = folder / f"{_STAGE}{uuid.uuid4().hex}"
        try:
            self._stage.mkdir(parents=True)
            self._extract(source)
        except OSError as error:
            self.discard()
            raise UnavailableError(f"The model folder {folder} cannot be written: {error}.") from error
        except BaseException:
            self.discard()
            raise

    def _is_missing(self, name: str, digest: str) -> bool:
        if not _VERSION.fullmatch(name):
            raise InvalidInputError(f"{name!r} is no version of a model: the backup's manifest is damaged.")
        manifest = self._folder / name / MANIFEST
        if not manifest.is_file():
            return bool(digest) or not (self._folder / name).is_dir()
        if digest and hashlib.sha256(manifest.read_bytes()).hexdigest() != digest:
            raise ConflictError(
                f"The model folder {self._folder} has another model as {name} than the backup: move that folder away, "
                "or name another one (XGB_STORAGE_PATH)."
            )
        return False

    def _extract(self, source: Path) -> None:
        wanted = set(self._missing)
        try:
            with tarfile.open(source, "r:") as archive:
                for entry in archive:
                    version, _, file_name = entry.name.rpartition("/") if entry.isreg() else (entry.name, "", "")
                    if not (_VERSION.fullmatch(version) and (entry.isreg() or entry.isdir())):
                        raise InvalidInputError(f"{source} holds {entry.name!r}, which is no part of a model.")
                    if version in wanted:
                        (self._stage / version).mkdir(parents=True, exist_ok=True)
                        content = archive.extractfile(entry) if entry.isreg() else None
                        if content is not None:
                            with (self._stage / version / Path(file_name).name).open("wb") as file:
                                shutil.copyfileobj(content, file)
                                file.flush()
                                os.fsync(file.fileno())
        except tarfile.TarError as error:
            raise InvalidInputError(f"{source} is damaged: {error}.") from None

    def finish(self) -> int:
        """Put what was missing into its place; how many versions that were.

        Raises:
            UnavailableError: the folder cannot be written.
        """
        try:
            for name in self._missing:
                place = self._folder / name
                place.mkdir(parents=True, exist_ok=True)
                # A folder replaces an empty one at once: a version is complete or absent.
                (self._stage / name).rename(place)
        except OSError as error:
            raise UnavailableError(
                f"The model folder {self._folder} cannot be written: {error}. The database is restored; unpack the "
                "archive of the models by hand."
            ) from error
        self.discard()
        return len(self._missing)

    def discard(self) -> None:
        """Remove what was unpacked and is not in its place."""
        shutil.rmtree(self._stage, ignore_errors=True)
