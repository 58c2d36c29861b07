"""Finds files of weights inside installed packages, without importing these."""

from importlib import metadata
from pathlib import Path

from seedcore.errors import NotConfiguredError


def packaged_file(distribution: str, path: str) -> Path:
    """Where `path` of an installed distribution is.

    Raises:
        NotConfiguredError: the distribution is not installed, or lacks that file.
    """
    try:
        found = Path(str(metadata.distribution(distribution).locate_file(path)))
    except metadata.PackageNotFoundError:
        raise NotConfiguredError(
            f"The package {distribution} is not installed: it has the embedder's weights."
        ) from None
    if not found.is_file():
        raise NotConfiguredError(f"The installed package {distribution} has no file {path}.")
    return found
