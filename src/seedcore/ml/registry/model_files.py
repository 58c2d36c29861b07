"""Writes the files of a version so that they survive a crash, and names the errors of damaged ones."""

import errno
import os
from pathlib import Path

from seedcore.errors import ConflictError, UnavailableError


def write_synced(path: Path, content: bytes) -> None:
    """Write a file that survives a crash from here on."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Let the names in a folder survive a crash."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def damaged_model(name: str, version: int, why: str) -> ConflictError:
    """The error for a version whose files cannot be used."""
    return ConflictError(f"Model {name!r} version {version} is damaged: {why}. Delete the version and train it again.")


def storage_error(root: Path, error: OSError) -> UnavailableError:
    """The error for a model folder that cannot be read or written."""
    code = errno.errorcode.get(error.errno or 0, "?")
    return UnavailableError(f"The model folder {root} (XGB_STORAGE_PATH) cannot be used: {code} {error.strerror}.")
