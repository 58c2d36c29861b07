"""One SeedCore for one data directory."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from seedcore.errors import SettingsError
from seedcore.stores.data_dir_lock import DataDirLock


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    return tmp_path


def test_the_second_one_is_told_who_has_it(data_dir: Path) -> None:
    first = DataDirLock(data_dir)
    first.take()
    for attempt in (DataDirLock(data_dir).take, DataDirLock(data_dir).check_free):
        with pytest.raises(SettingsError, match=r"SEEDCORE_DATA_DIR=.*\(pid \d+\)"):
            attempt()
    first.release()
    DataDirLock(data_dir).check_free()


def test_an_orderly_end_leaves_no_trace_of_a_kill(data_dir: Path) -> None:
    first = DataDirLock(data_dir)
    assert first.take() is False
    first.release()
    assert DataDirLock(data_dir).take() is False


def test_a_killed_owner_is_noticed(data_dir: Path) -> None:
    (data_dir / "run" / "launcher.lock").write_text("4711")
    assert DataDirLock(data_dir).take() is True


def test_looking_makes_nothing(tmp_path: Path) -> None:
    DataDirLock(tmp_path / "data").check_free()
    assert not (tmp_path / "data").exists()


def test_it_is_kept_for_another_process_until_that_ends(data_dir: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        lock = DataDirLock(data_dir)
        lock.take()
        lock.leave_to(4711, until=other.pid)
        lock.release()
        with pytest.raises(SettingsError, match=r"in use by another SeedCore \(pid 4711\)"):
            DataDirLock(data_dir).take()
        assert DataDirLock(data_dir).is_held_for(4711)
        assert not DataDirLock(data_dir).is_held_for(4712)
        other.communicate(b"\n")
    assert wait_until_free(data_dir).take() is False
    assert not DataDirLock(data_dir).is_held_for(4711)


def wait_until_free(data_dir: Path) -> DataDirLock:
    deadline = time.monotonic() + 10
    while True:
        lock = DataDirLock(data_dir)
        try:
            lock.check_free()
        except SettingsError:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        else:
            return lock
