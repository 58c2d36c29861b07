"""The gate's keeper: joins outcomes with predictions, advances tests and watches, decides. One replica runs it."""

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID

import asyncpg

from seedcore.errors import ConflictError, NotFoundError, SeedCoreError
from seedcore.ml.gate import outcome_repository as outcomes
from seedcore.ml.gate import promotion_repository as rows
from seedcore.ml.gate.gate_test import AnswerPair, GateDecision, GateTerms, GateTest
from seedcore.ml.gate.losses import loss
from seedcore.ml.gate.outcome_repository import JudgedPrediction
from seedcore.ml.gate.promotions import GATE, Promotions, champion_of
from seedcore.ml.gate.slices import slice_values
from seedcore.ml.gate.watch import PromotionWatch
from seedcore.ml.registry.aliases import AliasCache, lock_model
from seedcore.ml.registry.model_manifest import ModelManifest
from seedcore.tasks.monitoring.task_lookup import parent_ends
from seedcore.telemetry.logs import get_logger
from seedcore.telemetry.metrics import gauge

EVERY_S = 0.5
WATCHES_EVERY_S = 2.0
BATCH = 1_000
"""Pairs of one name in one transaction."""
ROUND_S = 5.0
"""A round ends after so long even if pairs are left: they are the next one's."""
STEPS = 2_000
"""Predictions of one name, in one round, whose parents are asked for."""
SUCCESS_S = 86_400.0
"""How long the end of a parent is waited for."""
RETENTION_EVERY_S = 60.0
PAGE = 5_000


class MeasuresEnergy(Protocol):
    """Says what tasks cost before and after a moment."""

    async def change(self, since: datetime, type_: str, window_s: float) -> Mapping[str, object]:
        """The answer of `GET /energy/change`."""


class GateKeeper:
    """Its jobs are `run` and `end_watches`; rounds that run at once change nothing twice, as all work under the lock of
    a name."""

    def __init__(self, promotions: Promotions, aliases: AliasCache, energy: MeasuresEnergy) -> None:
        self._promotions, self._aliases, self._energy = promotions, aliases, energy
        self._settings, self._store, self._database = promotions.settings, promotions.store, promotions.database
        self._manifests: dict[tuple[str, int], ModelManifest] = {}
        # Up to which prediction all of a name have a label or are too old for one, and where the next round goes on.
        self._labelled: dict[str, int] = {}
        self._positions: dict[str, int] = {}
        self._retained_at = float("-inf")
        self._lag_s = 0.0
        self._open = self._unmatched = 0
        self._log = get_logger("seedcore.ml.gate")

    def health(self) -> Mapping[str, object]:
        """`{lag_s, open_promotions, unmatched}`: how old the oldest outcome of the last round was when it was counted,
        promotions that go on, and outcomes whose predictions were never recorded."""
        return {"lag_s": round(self._lag_s, 3), "open_promotions": self._open, "unmatched": self._unmatched}

    async def run(self) -> None:
        """One round."""
        await self._label_by_success()
        began, lag, changed = time.monotonic(), 0.0, False
        async with self._database.connection() as connection:
            names = await outcomes.names_with_outcomes(connection)
        failed: Exception | None = None
        for name in names:
            while time.monotonic() - began < ROUND_S:
                try:
                    judged, age, decided = await self._judge(name)
                except Exception as error:  # noqa: BLE001 - one name must not stop the others; raised below
                    self._log.error("a model's outcomes cannot be judged", model=name, exc_info=error)
                    failed = error
                    break
                lag, changed = max(lag, age), changed or decided
                if judged < BATCH:
                    break
        async with self._database.connection() as connection:
            self._unmatched += await outcomes.give_up_waiting(connection)
            self._open = await rows.count_open(connection)
        self._lag_s = lag
        gauge("seedcore_gate_lag_seconds").set(lag)
        if changed:
            await self._aliases.renew()
        if time.monotonic() - self._retained_at > RETENTION_EVERY_S:
            await self._retain()
        if failed is not None:
            raise failed

    async def _judge(self, name: str) -> tuple[int, float, bool]:
        """Count new pairs of a name: how many, the oldest one's age in seconds, and whether aliases changed."""
        async with self._database.transaction() as connection:
            await lock_model(connection, name)
            pairs = await outcomes.pairs_to_judge(connection, name, BATCH)
            if not pairs:
                return 0, 0.0, False
            # State and marks are written in one transaction: a crash counts a pair once or not yet.
            await outcomes.mark_judged(connection, [pair.task_id for pair in pairs])
            decided = await self._advance_test(connection, name, pairs)
            if not decided:
                decided = await self._advance_watch(connection, name, pairs)
        age = (datetime.now(UTC) - min(pair.known_at for pair in pairs)).total_seconds()
        return len(pairs), max(0.0, age), decided

    async def _advance_test(self, connection: asyncpg.Connection, name: str, pairs: list[JudgedPrediction]) -> bool:
        promotion = await rows.open_promotion(connection, name)
        if promotion is None or promotion.champion is None:
            return False
        mine = [pair for pair in pairs if pair.promotion == promotion.id and pair.version == promotion.champion]
        if not mine:
            return False
        try:
            champion = await self._manifest(name, promotion.champion)
        except SeedCoreError as error:
            await self._promotions.refuse(connection, promotion, {"decided_by": "files", "reason": error.detail})
            return True
        test = GateTest(GateTerms.from_json(promotion.terms), promotion.state)
        decision, evidence = await asyncio.to_thread(_advance, test, mine, champion)
        if decision is None:
            await rows.save_progress(connection, promotion.id, test.to_json(), evidence)
            return False
        evidence |= {"decided_by": "test", "reason": decision.reason}
        if decision.verdict == "refuse":
            await self._promotions.refuse(connection, promotion, evidence)
        elif promotion.candidate not in await asyncio.to_thread(self._store.versions, name):
            evidence |= {"decided_by": "files", "reason": "The candidate is no longer stored."}
            await self._promotions.refuse(connection, promotion, evidence)
        else:
            bound = test.bound_of_candidate()
            margin = self._settings.gate_watch_margin
            bound = None if bound is None else min(bound + margin, 1.0)
            await self._promotions.accept(connection, promotion, evidence, bound)
        self._log.info(
            "promotion decided",
            model=name,
            candidate=promotion.candidate,
            verdict=decision.verdict,
            outcomes=decision.outcomes,
        )
        return True

    async def _advance_watch(self, connection: asyncpg.Connection, name: str, pairs: list[JudgedPrediction]) -> bool:
        promotion = await rows.watched_promotion(connection, name)
        if promotion is None or promotion.decided_at is None or not promotion.state:
            return False
        if await champion_of(connection, name) != promotion.candidate:
            # Another version answers by now: the watch goes on when this one answers again.
            return False
        since = promotion.decided_at
        mine = [pair for pair in pairs if pair.version == promotion.candidate and pair.made_at >= since]
        if not mine:
            return False
        try:
            # By the scale of the version before, as its bound is.
            manifest = await self._manifest(name, promotion.champion or promotion.candidate)
        except NotFoundError as error:
            # Nothing is left to go back to.
            gone = {"watch": {**promotion.evidence.get("watch", {}), "ended": error.detail}}
            await rows.end_watch(connection, promotion.id, gone)
            return False
        watch = PromotionWatch(promotion.state)
        for pair in mine:
            if watch.add(loss(pair.answer, pair.label, manifest)):
                break
        seen = {"watch": {**promotion.evidence.get("watch", {}), **watch.evidence()}}
        await rows.save_progress(connection, promotion.id, watch.to_json(), seen)
        if not watch.opened:
            return False
        why = f"Its loss rose above {watch.evidence()['bound']:.3f} within the watch."
        try:
            version = await self._promotions.go_back(connection, name, promotion.candidate, {"by": GATE, "reason": why})
        except ConflictError as error:
            # Nothing to go back to: the watch ends, and its evidence says why the version still answers.
            seen["watch"] |= {"rollback": error.detail}
            await rows.end_watch(connection, promotion.id, seen)
            self._log.error("cannot roll back", model=name, version=promotion.candidate, reason=error.detail)
            return False
        self._log.warning("champion rolled back", model=name, version=promotion.candidate, to=version)
        return True

    async def end_watches(self) -> None:
        """Note which watches are over without an alarm, and what the change cost: the Energy service may be slow, so
        no decision waits for this."""
        async with self._database.connection() as connection:
            ending = await rows.watches_that_end(connection)
        for promotion in ending:
            await self._end_watch(promotion)

    async def _end_watch(self, promotion_id: UUID) -> None:
        async with self._database.connection() as connection:
            promotion = await rows.get_promotion(connection, promotion_id)
        if promotion is None or promotion.decided_at is None or promotion.watch_until is None:
            return
        window_s = max((promotion.watch_until - promotion.decided_at).total_seconds(), 1.0)
        energy = await self._measured(promotion.decided_at, window_s)
        async with self._database.transaction() as connection:
            await lock_model(connection, promotion.name)
            known = (await rows.get_promotion(connection, promotion_id) or promotion).evidence.get("watch", {})
            ended = {"watch": {**known, "ended_at": datetime.now(UTC).isoformat(), "energy": energy}}
            await rows.end_watch(connection, promotion_id, ended)
        if energy.get("verdict") == "worse":
            self._log.warning("predictions cost more energy since a promotion", model=promotion.name, energy=energy)

    async def _measured(self, since: datetime, window_s: float) -> Mapping[str, object]:
        try:
            return await self._energy.change(since, "ml.predict", min(window_s, 86_400.0))
        except SeedCoreError as error:
            return {"measured": False, "why": f"The Energy service did not answer: {error.detail}"}

    async def _label_by_success(self) -> None:
        """Label predictions of models that are judged by the success of the task that asked for them."""
        for name, versions in (await self._aliases.current()).versions.items():
            champion = versions.get("champion")
            if champion is None:
                continue
            try:
                manifest = await self._manifest(name, champion)
            except SeedCoreError as error:
                self._log.error("champion cannot be read", model=name, version=champion, reason=error.detail)
                continue
            if manifest.outcome != "success":
                continue
            async with self._database.transaction() as connection:
                begin = self._labelled.get(name, 0)
                after = self._positions.pop(name, begin)
                found = await outcomes.unlabelled(connection, name, after, SUCCESS_S, STEPS)
                if after == begin and not found:
                    self._labelled[name] = await outcomes.settled_until(connection, name)
                elif after == begin and found[0].settled:
                    self._labelled[name] = found[0].seq - 1
                # The position goes around: parents end in any order.
                if len(found) == STEPS:
                    self._positions[name] = found[-1].seq
                ends = await parent_ends(connection, [one.task_id for one in found])
                labels = [outcomes.PredictionOutcome(end.id, end.tenant, name, end.completed) for end in ends]
                if labels:
                    await outcomes.store_outcomes(connection, labels)

    async def _retain(self) -> None:
        async with self._database.connection() as connection:
            given = self._settings.predictions_retention_s, self._settings.predictions_kept, PAGE
            deleted = await outcomes.delete_expired(connection, *given)
        # A full page means that there is more: the next round goes on.
        if deleted < PAGE:
            self._retained_at = time.monotonic()

    async def _manifest(self, name: str, version: int) -> ModelManifest:
        """A version's manifest; versions never change, so it is read once."""
        key = name, version
        if key not in self._manifests:
            if len(self._manifests) >= 1_000:
                self._manifests.clear()
            self._manifests[key] = await asyncio.to_thread(self._store.manifest, name, version)
        return self._manifests[key]


def _advance(
    test: GateTest, pairs: list[JudgedPrediction], champion: ModelManifest
) -> tuple[GateDecision | None, dict[str, object]]:
    for one in pairs:
        values = slice_values(champion, test.terms.slices, one.features)
        pair = AnswerPair(one.answer, one.candidate_answer, one.label, one.seconds, one.candidate_seconds, values)
        decision = test.add(pair, champion)
        if decision is not None:
            return decision, test.evidence()
    return None, test.evidence()
