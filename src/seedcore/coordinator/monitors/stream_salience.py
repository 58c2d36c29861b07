"""The salience of the streams: asks the ML service every few seconds, while a rule of the policy wants to know."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from seedcore.changepoint.features import SUCCESS, TASK_SIZE
from seedcore.coordinator.monitors.stream_monitors import MonitoredStream, StreamMonitors
from seedcore.decision.salience import formula
from seedcore.errors import SeedCoreError
from seedcore.schemas.ml.salience import SalienceResponse, SalienceScore
from seedcore.stores.postgres import DATABASE_ERRORS, Database
from seedcore.tasks import history
from seedcore.telemetry.logs import get_logger
from seedcore.telemetry.metrics import counter

SCORE_S = 3.0
"""How often active streams are scored."""

ACTIVE_S = 60.0
"""A stream without a report for longer is not active: its salience is not published."""

KEPT_S = 60.0
"""While ML is away its last score of a stream counts for so long, then the formula's."""

RECENT_TIMES, RECENT_ENDS = 50, 100
"""Outcomes whose times are compared with what is usual, and whose failures are counted."""

DEAD_S, MAX_DEAD = 3_600.0, 10_000
DATABASE_S = 0.5
"""Longest wait for a connection: without the count a round is only less exact."""


Features = dict[str, float | None]


class ScoringService(Protocol):
    """Scores items: the ML service's client."""

    async def score_salience(self, items: Sequence[Mapping[str, float | None]]) -> SalienceResponse:
        """One score for each item, in order."""


@dataclass(frozen=True, slots=True)
class StreamScore:
    """The last score of a stream, and when it was made (monotonic)."""

    score: SalienceScore
    at: float


class StreamSalience:
    """Scores active streams, in one request every SCORE_S; `changed` is set when a score changed.

    Args:
        streams: the monitors, which hold what streams look like.
        database: counts dead letters; while it is away they are unknown.
        scorer: the ML service's client.
        wanted: whether a rule of the policy in force asks for the salience; without one nothing is asked.
        changed: see above.
    """

    def __init__(
        self,
        streams: StreamMonitors,
        database: Database,
        scorer: ScoringService,
        wanted: Callable[[], bool],
        changed: asyncio.Event,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._streams, self._database, self._scorer = streams, database, scorer
        self._wanted, self._changed, self._clock = wanted, changed, clock
        self._scores: dict[str, StreamScore] = {}
        self._seen: dict[str, tuple[int, float]] = {}
        self.counts = {"rounds": 0, "fallbacks": 0}
        self.failing: str | None = None
        """Why ML did not score in the last round; None: it did."""
        self._log = get_logger("seedcore.coordinator")

    @property
    def published(self) -> Mapping[str, float]:
        """Scores of active streams by name, in thousandths: what is smaller does not matter to a rule."""
        return {name: round(kept.score.score, 3) for name, kept in self._scores.items()}

    async def run(self) -> None:
        """Score until cancelled."""
        while True:
            try:
                await self.step()
            except Exception as error:  # noqa: BLE001 - the loop must not end
                self.failing = f"unexpected {type(error).__name__}; the log has the details"
                self._log.error("scoring streams failed unexpectedly", exc_info=error)
            await asyncio.sleep(SCORE_S)

    async def step(self) -> None:
        """Score the active streams once, if a rule asks for it."""
        before = self.published
        active = self._active() if self._wanted() else []
        self._scores = {s.name: self._scores[s.name] for s in active if s.name in self._scores}
        if active:
            features = [stream_features(stream, dead) for stream, dead in await self._with_dead_letters(active)]
            scores = await self._score(features)
            now = self._clock()
            for n, stream in enumerate(active):
                kept = self._scores.get(stream.name)
                if scores is not None:
                    self._scores[stream.name] = StreamScore(scores[n], now)
                elif kept is None or kept.score.source == "formula" or now - kept.at > KEPT_S:
                    by_formula = SalienceScore(score=formula(features[n]), source="formula")
                    self._scores[stream.name] = StreamScore(by_formula, now)
        if self.published != before:
            self._changed.set()

    async def of_incident(self, stream: str | None, evidence: float) -> dict[str, object]:
        """The salience of an incident as JSON: `score`, `source`, `model`, and the `features` that it is of.

        Those are its stream's; of one without a monitor, or without a stream, only the evidence is known.

        Args:
            stream: where it is.
            evidence: that it is no chance, in [0, 1]; the valve's counts where it is higher.
        """
        watched = None if stream is None else self._streams.get(stream)
        features: Features = {}
        if watched is not None:
            ((_, dead),) = await self._with_dead_letters([watched])
            features = stream_features(watched, dead)
        features["valve_evidence"] = max(evidence, features.get("valve_evidence") or 0.0)
        scores = await self._score([features])
        score = SalienceScore(score=formula(features), source="formula") if scores is None else scores[0]
        return {**score.model_dump(), "features": features}

    async def _score(self, features: Sequence[Features]) -> list[SalienceScore] | None:
        self.counts["rounds"] += 1
        try:
            # A round must not wait longer than the next one is away.
            async with asyncio.timeout(SCORE_S):
                answer = await self._scorer.score_salience(features)
        except (SeedCoreError, TimeoutError) as error:
            reason = error.detail if isinstance(error, SeedCoreError) else f"no answer within {SCORE_S:g} s"
            if self.failing is None:
                self._log.warning("ML does not score, going on with the last scores or the formula", reason=reason)
            self.failing = reason
            self.counts["fallbacks"] += 1
            counter("seedcore_fallbacks_total").add(1, fallback="salience_formula")
            return None
        self.failing = None
        return answer.scores

    def _active(self) -> list[MonitoredStream]:
        """Streams that have seen a task within ACTIVE_S."""
        now, found = self._clock(), []
        for stream in self._streams.all():
            seen, at = self._seen.get(stream.name, (0, float("-inf")))
            if stream.seen != seen:
                at = now
                self._seen[stream.name] = stream.seen, now
            if now - at <= ACTIVE_S:
                found.append(stream)
        return found

    async def _with_dead_letters(self, streams: Sequence[MonitoredStream]) -> list[tuple[MonitoredStream, int | None]]:
        try:
            async with self._database.connection(wait_s=DATABASE_S) as connection:
                dead = await history.dead_by_stream(connection, DEAD_S, MAX_DEAD)
        except DATABASE_ERRORS as error:
            self._log.debug("dead letters not counted", reason=f"{type(error).__name__}: {error}")
            return [(stream, None) for stream in streams]
        return [(stream, dead.get(stream.name, 0)) for stream in streams]

    def health(self) -> dict[str, object]:
        """Whether a rule wants it, how many streams have a score by source, and why ML does not answer."""
        sources = [kept.score.source for kept in self._scores.values()]
        report: dict[str, object] = {
            "wanted": self._wanted(),
            "learned": sources.count("learned"),
            "formula": sources.count("formula"),
            **self.counts,
        }
        return report if self.failing is None else report | {"failing": self.failing}


def stream_features(stream: MonitoredStream, dead_letters: int | None) -> Features:
    """The features of a stream's next task, before its own priority and attempts are known.

    Times are the monitor's: in powers of two from 0.1 s, so that the ratio is of geometric means.
    """
    ends, work = stream.outcome.recent, stream.work.recent
    features: Features = {"valve_evidence": stream.status.evidence, "dead_letters": dead_letters}
    if len(ends):
        features["failure_share"] = float(1.0 - ends[-RECENT_ENDS:, SUCCESS].mean())
        features["seconds_ratio"] = float(2.0 ** (ends[-RECENT_TIMES:, 0].mean() - ends[:, 0].mean()))
    if len(work):
        features["params_bytes"] = int(np.expm1(np.median(work[:, TASK_SIZE])))
    return features
