"""Changes of the champion: promote, decide, roll back. Each is one transaction, under the lock of the model's name.

A process that is killed anywhere leaves what was before or what is after: one champion, which is stored, and a
candidate only while a promotion is open.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

import asyncpg

from seedcore.errors import ConflictError, SeedCoreError
from seedcore.ml.gate import promotion_repository as rows
from seedcore.ml.gate.gate_test import GateTerms
from seedcore.ml.gate.losses import loss
from seedcore.ml.gate.outcome_repository import recent_answers
from seedcore.ml.gate.replaceable import why_not_replaceable
from seedcore.ml.gate.watch import PromotionWatch, watch_bound
from seedcore.ml.registry.aliases import clear_alias, lock_model, set_alias
from seedcore.ml.registry.model_manifest import ModelManifest
from seedcore.ml.registry.model_store import ModelStore
from seedcore.settings import Settings
from seedcore.stores.postgres import Database
from seedcore.telemetry.metrics import counter

GATE = "gate"
"""Who decides when it is not a caller."""
RECENT = 2_000
"""Outcomes of the champion that a forced successor is watched by."""

_CHAMPION = "select version from seedcore.model_aliases where name = $1 and alias = 'champion'"


@dataclass(frozen=True, slots=True)
class PromotionAnswer:
    """What a request to promote led to; `id` is None where there was nothing to do."""

    name: str
    version: int
    status: Literal["promoted", "shadowing", "refused"]
    evidence: Mapping[str, object]
    id: UUID | None


async def champion_of(connection: asyncpg.Connection, name: str) -> int | None:
    """The version that answers for the name; None: it has no champion. Under the name's lock it stays so."""
    champion: int | None = await connection.fetchval(_CHAMPION, name)
    return champion


async def withdraw(connection: asyncpg.Connection, promotion: rows.Promotion | None, why: str) -> None:
    """End an open promotion (None: there is none) without a verdict; in the caller's transaction, under the lock."""
    if promotion is not None:
        evidence = {"decided_by": "withdrawn", "reason": why}
        await rows.decide_promotion(connection, promotion.id, "withdrawn", evidence)
        await clear_alias(connection, promotion.name, "candidate")
        counter("seedcore_promotions_total").add(1, outcome="withdrawn")


class Promotions:
    """Changes aliases and promotions of stored models."""

    def __init__(self, settings: Settings, store: ModelStore, database: Database) -> None:
        self.settings, self.store, self.database = settings, store, database

    def terms(self, candidate: ModelManifest) -> GateTerms:
        """What a promotion that is opened now is decided by."""
        given = self.settings
        return GateTerms(
            alpha=given.gate_alpha,
            margin=given.gate_margin,
            min_outcomes=given.gate_min_outcomes,
            max_outcomes=max(given.gate_max_outcomes, given.gate_min_outcomes),
            calibration_margin=given.gate_calibration_margin,
            latency_ratio=given.gate_latency_ratio,
            slices=dict(candidate.slices),
        )

    async def promote(
        self, name: str, version: int, *, reason: str | None = None, force: bool = False, by: str | None = None
    ) -> PromotionAnswer:
        """Make a version champion, or let it shadow until the gate decides.

        Raises:
            NotFoundError: there is no such version.
            ConflictError: its files are damaged.
        """
        # Read and verified before it can answer anything.
        manifest, _ = await asyncio.to_thread(self.store.load, name, version)
        async with self.database.transaction() as connection:
            await lock_model(connection, name)
            await asyncio.to_thread(self.store.manifest, name, version)
            champion = await champion_of(connection, name)
            terms = self.terms(manifest).to_json()
            new = rows.NewPromotion(name, champion, version, terms, force, by, reason)
            answer = await self._promote(connection, new, manifest)
        if answer.id is not None:
            counter("seedcore_promotions_total").add(1, outcome=answer.status)
        return answer

    async def _promote(
        self, connection: asyncpg.Connection, new: rows.NewPromotion, manifest: ModelManifest
    ) -> PromotionAnswer:
        name, version, champion = new.name, new.candidate, new.champion
        if champion == version:
            return PromotionAnswer(name, version, "promoted", {"decided_by": "champion already"}, None)
        if champion is None or new.forced:
            return await self._promote_at_once(connection, new, manifest)
        why_not = why_not_replaceable(await asyncio.to_thread(self.store.manifest, name, champion), manifest)
        if why_not is not None:
            evidence: dict[str, object] = {
                "decided_by": "schema",
                "reason": f"Version {version} cannot replace version {champion}: {why_not}.",
            }
            promotion = await rows.insert_promotion(connection, new, "refused", evidence)
            return PromotionAnswer(name, version, "refused", evidence, promotion)
        before = await rows.open_promotion(connection, name)
        if before is not None and before.candidate == version and before.champion == champion:
            return PromotionAnswer(name, version, "shadowing", before.evidence, None)
        await withdraw(connection, before, "a newer promotion was opened")
        evidence = {"outcomes": 0, "needed": dict(new.terms)}
        promotion = await rows.insert_promotion(connection, new, "shadowing", evidence)
        await set_alias(connection, name, "candidate", version, set_by=new.opened_by, reason=new.reason)
        return PromotionAnswer(name, version, "shadowing", evidence, promotion)

    async def _promote_at_once(
        self, connection: asyncpg.Connection, new: rows.NewPromotion, manifest: ModelManifest
    ) -> PromotionAnswer:
        evidence: dict[str, object] = {"decided_by": "first" if new.champion is None else "force"}
        state: Mapping[str, object] = {}
        if new.champion is not None:
            state, evidence["watch"] = await self._watch_of_forced(connection, new.champion, manifest)
        await withdraw(connection, await rows.open_promotion(connection, new.name), "a version was promoted")
        await self._make_champion(connection, new.name, new.candidate, new.opened_by, new.reason)
        watch_s = self.settings.gate_watch_s if state else None
        promotion = await rows.insert_promotion(connection, new, "promoted", evidence, watch_s=watch_s, state=state)
        return PromotionAnswer(new.name, new.candidate, "promoted", evidence, promotion)

    async def _watch_of_forced(
        self, connection: asyncpg.Connection, champion: int, candidate: ModelManifest
    ) -> tuple[Mapping[str, object], dict[str, object]]:
        """A forced version has no losses of its own: it is watched by what its predecessor lost."""
        name = candidate.name
        try:
            manifest = await asyncio.to_thread(self.store.manifest, name, champion)
        except SeedCoreError as error:
            return {}, {"watched": False, "why": error.detail}
        why_not = why_not_replaceable(manifest, candidate)
        if why_not is not None:
            return {}, {"watched": False, "why": f"Its losses cannot be compared with version {champion}'s: {why_not}."}
        answers = await recent_answers(connection, name, champion, RECENT)
        losses = [loss(answer, label, manifest) for answer, label in answers]
        bound = watch_bound(losses, self.settings.gate_alpha, self.settings.gate_watch_margin)
        return self._begin_watch(bound, f"{len(answers)} outcomes of version {champion}")

    def _begin_watch(self, bound: float | None, source: str) -> tuple[Mapping[str, object], dict[str, object]]:
        if bound is None:
            return {}, {"watched": False, "why": f"Too little is known to compare with: {source}."}
        if not self.settings.gate_watch_s:
            return {}, {"watched": False, "why": "SEEDCORE_GATE_WATCH_S is 0."}
        watch = PromotionWatch.begin(bound, self.settings.gate_watch_arl)
        return watch.to_json(), {"watched": True, "bound": bound, "from": source}

    async def accept(
        self,
        connection: asyncpg.Connection,
        promotion: rows.Promotion,
        evidence: Mapping[str, object],
        bound: float | None,
    ) -> None:
        """Let an open promotion's candidate answer; in the caller's transaction, under the name's lock."""
        state, watch = self._begin_watch(bound, f"{evidence.get('outcomes', 0)} outcomes in its shadow")
        await self._make_champion(connection, promotion.name, promotion.candidate, GATE, promotion.reason)
        await rows.decide_promotion(
            connection,
            promotion.id,
            "promoted",
            {**evidence, "watch": watch},
            watch_s=self.settings.gate_watch_s if state else None,
            state=state,
        )
        counter("seedcore_promotions_total").add(1, outcome="promoted")

    async def refuse(
        self, connection: asyncpg.Connection, promotion: rows.Promotion, evidence: Mapping[str, object]
    ) -> None:
        """End an open promotion; the champion stays. In the caller's transaction, under the name's lock."""
        await rows.decide_promotion(connection, promotion.id, "refused", evidence)
        await clear_alias(connection, promotion.name, "candidate")
        counter("seedcore_promotions_total").add(1, outcome="refused")

    async def rollback(self, name: str, reason: str, by: str | None) -> int:
        """Let the champion before this one answer again; its version.

        Raises:
            ConflictError: there is none, or it is no longer stored.
        """
        async with self.database.transaction() as connection:
            await lock_model(connection, name)
            champion = await champion_of(connection, name)
            if champion is None:
                raise ConflictError(f"Model {name!r} has no champion, so there is nothing to go back from.")
            return await self.go_back(connection, name, champion, {"by": by, "reason": reason})

    async def go_back(
        self, connection: asyncpg.Connection, name: str, champion: int, rollback: Mapping[str, object]
    ) -> int:
        """The same in the caller's transaction, under the name's lock."""
        stored = set(await asyncio.to_thread(self.store.versions, name))
        promotion = await rows.promoted_to(connection, name, champion)
        if promotion is None or promotion.champion is None:
            raise ConflictError(f"There was no champion of {name!r} before version {champion}.")
        if promotion.champion not in stored:
            raise ConflictError(
                f"Version {promotion.champion} of {name!r}, the champion before version {champion}, is no longer "
                "stored. Promote a version that is, with `force`."
            )
        by = rollback.get("by")
        await withdraw(connection, await rows.open_promotion(connection, name), "the champion was rolled back")
        await self._make_champion(
            connection, name, promotion.champion, str(by) if by is not None else None, str(rollback.get("reason", ""))
        )
        await rows.decide_promotion(
            connection, promotion.id, "rolled_back", {"rollback": {**rollback, "to": promotion.champion}}
        )
        counter("seedcore_promotions_total").add(1, outcome="rolled_back")
        return promotion.champion

    async def _make_champion(
        self, connection: asyncpg.Connection, name: str, version: int, by: str | None, reason: str | None
    ) -> None:
        await set_alias(connection, name, "champion", version, set_by=by, reason=reason)
        await clear_alias(connection, name, "candidate")
