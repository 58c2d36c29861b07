"""The operation that scores salience."""

from collections.abc import Sequence

from seedcore.ml.parts import MLParts
from seedcore.ml.registry.aliases import AliasCache
from seedcore.ml.salience.salience_scorer import SalienceScorer
from seedcore.schemas.salience import SalienceRequest, SalienceResponse
from seedcore.web.service_base import Operation


class SalienceOperations:
    """Scores salience with what was learned, or by the formula."""

    def __init__(self, parts: MLParts) -> None:
        self._aliases = AliasCache(parts.database)
        self.scorer = SalienceScorer(parts.predictor, self._aliases)

    def operations(self) -> Sequence[Operation]:
        """What this part serves."""
        return (Operation("POST", "/score/salience", self.score, SalienceRequest, summary="Score how much it matters"),)

    async def score(self, request: SalienceRequest) -> SalienceResponse:
        """One score in [0, 1] for each item, in order; the source says whether it is learned or the formula's."""
        return await self.scorer.score(request.given)

    async def stop(self) -> None:
        """End a read of aliases that is going on."""
        await self._aliases.aclose()
