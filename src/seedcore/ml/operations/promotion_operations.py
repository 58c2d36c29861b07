"""Operations of the gate: outcomes, promotions, rollbacks; and the keeper, which is a job of the leader."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated
from uuid import UUID

from fastapi import FastAPI, Query, Response

from seedcore.errors import NotFoundError
from seedcore.ml.gate import promotion_repository as rows
from seedcore.ml.gate.gain_plot import draw_gain
from seedcore.ml.gate.keeper import EVERY_S, WATCHES_EVERY_S, GateKeeper
from seedcore.ml.gate.outcomes import OutcomeIntake
from seedcore.ml.gate.promotions import Promotions
from seedcore.ml.parts import MLParts
from seedcore.schemas.ml import promotions as schemas
from seedcore.service_clients.energy_client import EnergyClient
from seedcore.stores.leading.leader_loop import LeaderJob
from seedcore.tasks.submission.tenancy import HERE, Origin
from seedcore.web.access.caller import ANONYMOUS, Caller
from seedcore.web.service_base import Operation


class PromotionOperations:
    """Takes outcomes, and changes the champion by test, by command or by force."""

    def __init__(self, parts: MLParts) -> None:
        aliases = parts.aliases
        self._database, self._aliases = parts.database, aliases
        self._promotions = Promotions(parts.settings, parts.store, parts.database)
        self._intake = OutcomeIntake(parts.store, parts.database, aliases)
        self._energy = EnergyClient(parts.settings, timeout_s=10)
        self.keeper = GateKeeper(self._promotions, aliases, self._energy)

    def operations(self) -> Sequence[Operation]:
        """What this part serves."""
        s = schemas
        return (
            Operation("POST", "/outcomes", self.outcomes, s.OutcomesRequest, summary="Say what was true", submits=True),
            Operation(
                "POST", "/xgboost/promote", self.promote, s.PromoteRequest, summary="Promote a version", submits=True
            ),
            Operation("POST", "/xgboost/rollback", self.rollback, s.RollbackRequest, summary="Go back", submits=True),
            Operation("GET", "/xgboost/promotions", self.promotions, s.PromotionsQuery, summary="List promotions"),
        )

    def jobs(self) -> Sequence[LeaderJob]:
        """What the leader does for the gate."""
        return (
            LeaderJob("gate", EVERY_S, self.keeper.run),
            LeaderJob("watches", WATCHES_EVERY_S, self.keeper.end_watches),
        )

    def extend(self, app: FastAPI) -> None:
        """Add the route of one promotion."""

        @app.get("/xgboost/promotions/{promotion_id}", response_model=schemas.PromotionOut)
        async def get_promotion(
            promotion_id: UUID, view: Annotated[schemas.PromotionView, Query()]
        ) -> Response | schemas.PromotionOut:
            """One promotion with its evidence; `format=svg` draws the gain with its confidence sequence."""
            found = await self._get(promotion_id)
            if view.format == "json":
                return _shown(found)
            return Response(await asyncio.to_thread(draw_gain, found), media_type="image/svg+xml")

    async def stop(self) -> None:
        """Close connections."""
        await self._energy.aclose()

    def health(self) -> Mapping[str, object]:
        """How far the keeper is."""
        return self.keeper.health()

    async def outcomes(
        self, request: schemas.OutcomesRequest, *, origin: Origin = HERE, caller: Caller = ANONYMOUS
    ) -> schemas.OutcomesResponse:
        """Say what was true of earlier `ml.predict` tasks; the first label of a task stays, all or none are stored."""
        return await self._intake.take(request, caller.tenant)

    async def promote(
        self, request: schemas.PromoteRequest, *, origin: Origin = HERE, caller: Caller = ANONYMOUS
    ) -> schemas.PromoteResponse:
        """Let a version be champion: at once where there is none or with `force`, else when the gate's test says so."""
        answer = await self._promotions.promote(
            request.name, request.version, reason=request.reason, force=request.force, by=caller.by
        )
        await self._aliases.renew()
        return schemas.PromoteResponse(**asdict(answer))

    async def rollback(
        self, request: schemas.RollbackRequest, *, origin: Origin = HERE, caller: Caller = ANONYMOUS
    ) -> schemas.RollbackResponse:
        """Let the champion before this one answer again; 409 when there is none."""
        version = await self._promotions.rollback(request.name, request.reason, caller.by)
        await self._aliases.renew()
        return schemas.RollbackResponse(name=request.name, version=version)

    async def promotions(self, request: schemas.PromotionsQuery) -> schemas.PromotionsResponse:
        """Promotions with their evidence, the newest first."""
        async with self._database.connection() as connection:
            found = await rows.page_of_promotions(connection, request.name, request.cursor, request.limit + 1)
        items = [_shown(one) for one in found[: request.limit]]
        return schemas.PromotionsResponse(items=items, next_cursor=items[-1].id if len(found) > request.limit else None)

    async def _get(self, promotion_id: UUID) -> rows.Promotion:
        async with self._database.connection() as connection:
            found = await rows.get_promotion(connection, promotion_id)
        if found is None:
            raise NotFoundError(f"There is no promotion {promotion_id}.")
        return found


def _shown(promotion: rows.Promotion) -> schemas.PromotionOut:
    values = asdict(promotion)
    values.pop("state")
    return schemas.PromotionOut(version=values.pop("candidate"), **values)
