"""The whole way in one process: real models, `ml.predict` in the worker's part, recorded rows, outcomes, a decision."""

import asyncio
import random
from uuid import UUID, uuid4

from seedcore.ml.gate.promotions import Promotions
from seedcore.ml.predicting.local_predictions import LocalPredictions
from seedcore.schemas.ml.models import PredictRequest, TrainRequest
from seedcore.settings import Settings
from tests.ml.support import started_service


def rows(seed: int, noise: float, n: int = 300) -> list[list[object]]:
    """x > 0.5 is true, but for labels that are wrong in a share of rows."""
    rng = random.Random(seed)
    values = [rng.random() for _ in range(n)]
    return [[x, int((x > 0.5) != (rng.random() < noise))] for x in values]


async def test_a_better_model_proves_itself_on_live_tasks(pg_settings: Settings):
    async with started_service(pg_settings) as service:
        for noise in (0.45, 0.0):
            request = TrainRequest(name="m", columns=["x", "y"], rows=rows(1, noise), label_column="y")
            await service.training.train(request)
        promotions = Promotions(service.settings, service.parts.store, service.parts.database)
        await promotions.promote("m", 1)
        await promotions.promote("m", 2)
        worker = LocalPredictions(service.settings)
        rng, truth = random.Random(2), {}
        for _ in range(300):
            x, task = rng.random(), str(uuid4())
            truth[task] = int(x > 0.5)
            request_ = PredictRequest(name="m", features={"x": x})
            answer = await worker.predict(request_, task, "default", None)  # type: ignore[arg-type]
            assert answer.model.version == 1
        await worker.aclose()
        database = service.parts.database
        async with database.connection() as connection:
            shadows = await connection.fetchval(
                "select count(*) from seedcore.predictions where candidate = 2 and promotion is not null"
                " and candidate_answer is not null and candidate_seconds is not null"
            )
            assert shadows == 300
            await connection.executemany(
                "insert into seedcore.outcomes (task_id, tenant, name, label) values ($1, 'default', 'm', $2)",
                [(UUID(task), str(label)) for task, label in truth.items()],
            )
        await asyncio.wait_for(service.promotions.keeper.run(), 20)
        async with database.connection() as connection:
            champion = await connection.fetchval("select version from seedcore.model_aliases where alias = 'champion'")
            evidence = await connection.fetchval(
                "select evidence::text from seedcore.promotions order by id desc limit 1"
            )
        assert champion == 2, evidence
        assert '"decided_by": "test"' in evidence
