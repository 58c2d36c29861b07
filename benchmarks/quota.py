"""Less processor than there is: a share of one core for a process and all that it starts, by a cgroup (as root)."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
PERIOD_US = 100_000


@contextlib.contextmanager
def cpu_share(share: float | None) -> Iterator[Callable[[], None]]:
    """Gives what a child calls before it executes its program; without a share it does nothing.

    Raises:
        RuntimeError: this machine has no cgroup that this user may make.
    """
    if share is None:
        yield lambda: None
        return
    old = ROOT / "cpu"
    group = (old if old.is_dir() else ROOT) / f"seedcore-{os.getpid()}"
    quota = int(share * PERIOD_US)
    try:
        group.mkdir()
        if old.is_dir():
            (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(str(quota))
        else:
            (group / "cpu.max").write_text(f"{quota} {PERIOD_US}")
    except OSError as error:
        raise RuntimeError(f"no share of a processor can be set here, it needs root and cgroups: {error}") from error
    try:
        yield lambda: join(group)
    finally:
        group.rmdir()


def join(group: Path) -> None:
    """Put the calling process into the group."""
    (group / "cgroup.procs").write_text("0")
