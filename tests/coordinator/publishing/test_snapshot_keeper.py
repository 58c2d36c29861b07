"""How often the snapshot is saved."""

import pytest

from seedcore.coordinator.publishing import snapshot_keeper
from seedcore.coordinator.publishing.published_snapshot import PublishedSnapshot
from seedcore.coordinator.publishing.snapshot_keeper import MAX_SAVE_SHARE, SnapshotKeeper
from seedcore.decision.fleet_table import Fleet
from seedcore.settings import Settings
from seedcore.stores.postgres import Database

pytestmark = pytest.mark.integration


async def test_a_snapshot_that_takes_long_to_write_down_is_saved_less_often(
    pg_settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(snapshot_keeper, "SAVE_S", 0.0)
    database, snapshot = Database(pg_settings, size=1), PublishedSnapshot(Fleet())
    keeper = SnapshotKeeper(database, snapshot)
    await keeper.take_generation()

    async def saves() -> int:
        keeper.save_if_due()
        if keeper._saving is not None:
            await keeper._saving
        return keeper.counts["saves"]

    def change(count: int) -> None:
        snapshot.parts.set_backlog("w", [("a", "x", count)])
        snapshot.parts.publish()

    assert await saves() == 0, "nothing is published yet"
    change(1)
    assert [await saves(), await saves()] == [1, 1]
    change(2)
    keeper._took_s = 60.0 * MAX_SAVE_SHARE
    assert await saves() == 1
    keeper._took_s = 0.0
    assert await saves() == 2
    await keeper.aclose()
    assert keeper.counts == {"saves": 2, "failed_saves": 0}
    await database.aclose()
