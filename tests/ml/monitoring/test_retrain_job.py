"""The task `ml.retrain` on a real database: from recorded predictions to a candidate in the shadow, once."""

from pathlib import Path
from uuid import uuid4

import pytest

from seedcore.errors import ConflictError, InvalidInputError
from seedcore.ml.monitoring.retrain_job import RetrainJob, run_retrain_job
from seedcore.ml.registry.aliases import read_aliases
from seedcore.schemas.ml.retraining import RetrainRequest
from seedcore.settings import Settings
from tests.ml.monitoring.test_monitor_keeper import IMAGES, World, manifest

pytestmark = pytest.mark.integration

ASKED = RetrainRequest(name="digits", cause="inputs", rows=400, params={"num_boost_round": 3, "max_depth": 2})


@pytest.fixture
async def world(pg_settings: Settings, tmp_path: Path):
    made = World(pg_settings, tmp_path)
    yield made
    await made.database.aclose()


async def test_a_candidate_is_trained_on_the_newest_labelled_rows_and_shadows(world, pg_settings):
    await world.champion(1)
    await world.predict(IMAGES[800:1000])
    task = uuid4()
    done = await RetrainJob(pg_settings, world.database, world.store, task).run(ASKED)
    assert (done.version, done.parent, done.status, done.rows) == (3, 1, "shadowing", 200)
    stored = world.store.manifest("digits", 3)
    assert (stored.lineage.parent, stored.lineage.source, stored.lineage.job_id) == (1, "predictions", str(task))
    assert stored.labels == manifest().labels
    assert stored.params["num_boost_round"] == 3
    assert world.store.reference("digits", 3) is not None
    async with world.database.connection() as connection:
        assert (await read_aliases(connection)).of("digits") == {"champion": 1, "candidate": 3}


async def test_a_later_attempt_uses_what_an_earlier_one_stored(world, pg_settings):
    await world.champion(1)
    await world.predict(IMAGES[800:1000])
    job = RetrainJob(pg_settings, world.database, world.store, uuid4())
    first, second = await job.run(ASKED), await job.run(ASKED)
    assert (first.version, second.version, second.status) == (3, 3, "shadowing")
    assert second.fresh_rows is None
    assert world.store.versions("digits") == [1, 2, 3]


async def test_without_a_champion_or_without_labelled_rows_it_says_so(world, pg_settings):
    job = RetrainJob(pg_settings, world.database, world.store, uuid4())
    with pytest.raises(ConflictError, match="no champion"):
        await job.run(ASKED)
    await world.champion(1)
    with pytest.raises(InvalidInputError, match="no recorded prediction"):
        await job.run(ASKED)


def test_another_tenants_task_retrains_nothing(settings):
    with pytest.raises(ConflictError, match="tenant 'acme'"):
        run_retrain_job(ASKED, settings, str(uuid4()), "acme", lambda _done, _total: None)
