"""The lock of a data directory: one SeedCore at a time uses it."""

import os
import subprocess
import sys
from pathlib import Path

from seedcore.errors import SettingsError
from seedcore.stores.embedded.lock_files import open_lock, try_lock
from seedcore.stores.embedded.os_processes import CLEAN_PATH


class DataDirLock:
    """The lock of a data directory. The kernel drops it with the process, so it is never stale.

    The file holds the pid of its owner, and is emptied on an orderly end: a pid in a file that no process locks
    shows that the last owner was killed.
    """

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._path = data_dir / "run" / "launcher.lock"
        self._fd: int | None = None

    def check_free(self) -> None:
        """Raise SettingsError when another SeedCore runs here; creates nothing."""
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
        self._fd = fd
        self._write_owner(os.getpid())
        return was_killed

    def leave_to(self, owner: int, *, until: int) -> None:
        """Keep what this process took locked until the process `until` ends, though this one ends before.

        A small process of its own waits for that end, and empties the file. It is no child of this process: Ray
        kills the children of a worker that exits.

        Args:
            owner: the pid that a second SeedCore names in its refusal.
            until: pid of a process of this user, which lives for as long as this SeedCore does.
        """
        assert self._fd is not None
        self._write_owner(owner)
        pid_fd = os.pidfd_open(until)
        root = Path(__file__).resolve().parents[2]
        subprocess.run(
            [sys.executable, "-S", "-P", "-m", "seedcore.stores.lock_keeper", str(self._fd), str(pid_fd)],
            env={"PATH": CLEAN_PATH, "PYTHONPATH": str(root), "LC_ALL": "C.UTF-8"},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[self._fd, pid_fd],
            start_new_session=True,
            check=True,
        )
        os.close(pid_fd)
        os.close(self._fd)
        self._fd = None

    def is_held_for(self, owner: int) -> bool:
        """Whether it is locked, and `owner` is the pid that a second SeedCore would name."""
        try:
            self.check_free()
        except SettingsError:
            return self._path.read_text() == str(owner)
        return False

    def release(self) -> None:
        """Release it after an orderly end."""
        if self._fd is not None:
            os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = None

    def _write_owner(self, pid: int) -> None:
        assert self._fd is not None
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, str(pid).encode(), 0)

    def _lock(self, fd: int) -> None:
        if not try_lock(fd):
            owner = os.pread(fd, 20, 0).decode() or "unknown"
            raise SettingsError(
                f"SEEDCORE_DATA_DIR={self._data_dir} is in use by another SeedCore (pid {owner}): stop that one, "
                "or set SEEDCORE_DATA_DIR and SEEDCORE_HTTP_PORT to others."
            )
