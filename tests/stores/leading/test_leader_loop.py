"""The leader's jobs: one replica runs them, another takes over, and a failure ends nothing."""

import asyncio

import pytest

from seedcore.settings import Settings
from seedcore.stores.leading.leader_loop import LeaderJob, LeaderLoop
from seedcore.stores.postgres import Database


class Rounds:
    """Counts rounds, and lets a test wait for the next."""

    def __init__(self) -> None:
        self.done, self.error = 0, None
        self.again = asyncio.Event()

    async def run(self) -> None:
        self.done += 1
        self.again.set()
        if self.error is not None:
            raise self.error

    async def next(self) -> None:
        self.again.clear()
        await asyncio.wait_for(self.again.wait(), 10)


@pytest.mark.integration
async def test_one_replica_runs_the_jobs_and_the_next_takes_over(pg_settings: Settings):
    database = Database(pg_settings)
    first, second = Rounds(), Rounds()
    leader = LeaderLoop(database, "models", [LeaderJob("count", 0.01, first.run)])
    follower = LeaderLoop(database, "models", [LeaderJob("count", 0.01, second.run)])
    leader.start()
    await first.next()
    follower.start()
    await first.next()
    assert not await follower.try_to_lead()
    assert (leader.leads, follower.leads, second.done) == (True, False, 0)
    await leader.stop()
    assert await follower.try_to_lead()
    await second.next()
    assert not await leader.try_to_lead()
    await follower.stop()
    await database.aclose()


@pytest.mark.integration
async def test_a_failing_job_is_shown_and_runs_again(pg_settings: Settings):
    database = Database(pg_settings)
    failing, other = Rounds(), Rounds()
    failing.error = ValueError("no")
    loop = LeaderLoop(database, "models", [LeaderJob("a", 0.01, failing.run), LeaderJob("b", 0.01, other.run)])
    loop.start()
    await failing.next()
    await failing.next()
    await other.next()
    assert loop.health() == {"leads": True, "failing": {"a": "ValueError: no"}}
    failing.error = None
    await failing.next()
    await failing.next()
    assert loop.health()["failing"] == {}
    await loop.stop()
    await database.aclose()
