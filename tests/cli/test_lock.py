"""One launcher for one data directory."""

from pathlib import Path

import pytest

from seedcore.cli.lock import DataDirLock
from seedcore.errors import SettingsError


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
