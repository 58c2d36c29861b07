from pathlib import Path

import pytest

from tests.packaging.stand_ins import StandIns


@pytest.fixture
def stand_ins(tmp_path: Path) -> StandIns:
    folder = tmp_path / "stand_ins"
    folder.mkdir()
    return StandIns(folder)
