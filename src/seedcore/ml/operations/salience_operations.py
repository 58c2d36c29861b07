"""Operations that score salience, and that submit the task which learns it."""

from collections.abc import Sequence

from seedcore.ml.operations.job_tasks import jobs_limit
from seedcore.ml.parts import MLParts
from seedcore.ml.salience.salience_scorer import SalienceScorer
from seedcore.schemas.ml.models import JobAccepted
from seedcore.schemas.ml.salience import LearnSalience, SalienceRequest, SalienceResponse
from seedcore.tasks.submission.tenancy import HERE, Origin
from seedcore.web.access.caller import ANONYMOUS, Caller
from seedcore.web.service_base import Operation


class SalienceOperations:
    """Scores salience with what was learned, or by the formula; learning is a task."""

    def __init__(self, parts: MLParts) -> None:
        self._parts = parts
        self.scorer = SalienceScorer(parts.predictor, parts.aliases)

    def operations(self) -> Sequence[Operation]:
        """What this part serves."""
        path = "/score/salience"
        return (
            Operation("POST", path, self.score, SalienceRequest, summary="Score how much it matters"),
            Operation(
                "POST",
                f"{path}/train",
                self.train,
                LearnSalience,
                status=202,
                summary="Learn the salience as a task",
                submits=True,
            ),
        )

    async def score(self, request: SalienceRequest) -> SalienceResponse:
        """One score in [0, 1] for each item, in order; the source says whether it is learned or the formula's."""
        return await self.scorer.score(request.given)

    async def train(self, request: LearnSalience, *, origin: Origin = HERE, caller: Caller = ANONYMOUS) -> JobAccepted:
        """Learn from the ended tasks of all tenants, as a task; its result says whether the version answers."""
        limit = jobs_limit(self._parts.settings)
        fields = {"type": "ml.learn-salience", "params": request.model_dump(exclude_unset=True), "limit": limit}
        async with self._parts.database.connection() as connection:
            _, submitted = await self._parts.submission.one(connection, fields, origin)
        return JobAccepted(job_id=str(submitted.id))
