"""One `seedcore run` for one data directory."""

import os
from pathlib import Path

from seedcore.errors import SettingsError
from seedcore.stores.embedded.files import open_lock, try_lock


class DataDirLock:
    """The lock of a data directory. The kernel drops it with the process, so it is never stale.

    The file holds the pid of its owner, and is emptied on an orderly end: a pid in a file that nobody locks
    says that the last owner was killed.
    """

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._path = data_dir / "run" / "launcher.lock"
        self._fd: int | None = None

    def check_free(self) -> None:
        """Raise SettingsError when another SeedCore runs here; makes nothing."""
        if not os.access(self._path, os.R_OK | os.W_OK):
            return
        fd = open_lock(self._path)
        try:
            self._lock(fd)
        finally:
            os.close(fd)

    def take(self) -> bool:
        """Take it (the folder must exist).

        Returns:
            True when the last owner was killed, so that its processes may still be ending.

        Raises:
            SettingsError: another SeedCore has it.
        """
        fd = open_lock(self._path)
        try:
            self._lock(fd)
        except SettingsError:
            os.close(fd)
            raise
        was_killed = os.fstat(fd).st_size > 0
        os.ftruncate(fd, 0)
        os.pwrite(fd, str(os.getpid()).encode(), 0)
        self._fd = fd
        return was_killed

    def release(self) -> None:
        """Give it back after an orderly end."""
        if self._fd is not None:
            os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = None

    def _lock(self, fd: int) -> None:
        if not try_lock(fd):
            owner = os.pread(fd, 20, 0).decode() or "unknown"
            raise SettingsError(
                f"SEEDCORE_DATA_DIR={self._data_dir} is in use by another `seedcore run` (pid {owner}): stop that one, "
                "or set SEEDCORE_DATA_DIR and SEEDCORE_HTTP_PORT to others."
            )
