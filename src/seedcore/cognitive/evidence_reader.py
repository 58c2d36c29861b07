"""Gathers the evidence that a request names, and renders the answer."""

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from seedcore.cognitive.engines.offline.evidence import Evidence, ModelReading, Series, Subject, ValveReading, beliefs
from seedcore.cognitive.engines.offline.reasoning import RankedHypotheses
from seedcore.cognitive.task_history import History, read_ends, read_task
from seedcore.errors import SeedCoreError
from seedcore.schemas.cognitive.failures import (
    HypothesisOut,
    ReasonRequest,
    ReasonResponse,
    SeriesFinding,
    SubjectOut,
    ValveFacts,
)
from seedcore.settings import Settings
from seedcore.stores.postgres import Database

FetchValves = Callable[[], Awaitable[Mapping[str, Any]]]
"""Fetches the document of `GET /pipeline/valve`."""


@dataclass(frozen=True, slots=True)
class GatheredEvidence:
    """The evidence, and the task history that it comes from."""

    evidence: Evidence
    history: History


class EvidenceReader:
    """Reads the database, which it connects on first use, and fetches the stream's valve."""

    def __init__(self, settings: Settings, fetch_valves: FetchValves) -> None:
        self.database = Database(settings, name="seedcore-cognitive", size=6)
        self._fetch_valves = fetch_valves

    async def aclose(self) -> None:
        """Close connections."""
        await self.database.aclose()

    async def read(self, request: ReasonRequest) -> GatheredEvidence:
        """All evidence for or against a cause.

        Raises:
            NotFoundError, ConflictError: there is no such task, or none of its attempts failed.
            UnavailableError: the database does not answer.
        """
        subject = Subject(stream=request.stream)
        if request.task_id is not None:
            subject = await read_task(self.database, request.task_id)
        history = History([], None)
        if subject.stream is not None:
            history = await read_ends(self.database, request.window_s, request.task_id)
        valve, missing = await self._valve(request.valve, subject.stream)
        series = [_series(finding) for finding in request.findings]
        model = None if request.model is None else ModelReading(**request.model.model_dump())
        return GatheredEvidence(Evidence(subject, history.ends, valve, series, missing, model), history)

    async def _valve(self, given: ValveFacts | None, stream: str | None) -> tuple[ValveReading | None, dict[str, str]]:
        if given is not None:
            return ValveReading(given.state, given.evidence, given.arl0, given.since_alarm), {}
        if stream is None:
            return None, {}
        try:
            document = await self._fetch_valves()
        except SeedCoreError as error:
            # Reasoning continues without it, and reports it as missing.
            return None, {"work_changed": f"the Coordinator did not report the valve: {error.detail}"}
        found = (_valve_reading(item["work"]) for item in document["streams"] if item["stream"] == stream)
        return next(found, None), {}


def _valve_reading(work: Mapping[str, Any]) -> ValveReading:
    last = work.get("last_alarm")
    return ValveReading(
        work["state"], work.get("evidence"), work.get("arl0"), None if last is None else work["observed"] - last
    )


def _series(finding: SeriesFinding) -> Series:
    if not finding.anomalies:
        return Series(finding.name, finding.points)
    chances = [point.chance for point in finding.anomalies]
    known = [chance for chance in chances if chance is not None]
    # Each chance is one-sided.
    chance = None if len(known) < len(chances) else min(1.0, 2 * min(known))
    places = tuple(sorted(point.index for point in finding.anomalies))
    return Series(finding.name, finding.points, places, max(point.score for point in finding.anomalies), chance)


def response(request: ReasonRequest, gathered: GatheredEvidence, ranking: RankedHypotheses) -> ReasonResponse:
    """The answer in the wire format."""
    subject = gathered.evidence.subject
    ranked = zip(ranking.hypotheses, beliefs(ranking.hypotheses), strict=True)
    return ReasonResponse(
        subject=SubjectOut(
            task_id=subject.task,
            stream=subject.stream,
            codes=list(subject.codes),
            agent=subject.agent,
            host=subject.host,
        ),
        hypotheses=[
            HypothesisOut(
                name=h.name,
                kind=h.kind,
                about=h.about,
                belief=belief,
                log10_bayes=h.log_bayes / math.log(10),
                numbers=dict(h.numbers),
            )
            for h, belief in ranked
        ],
        absent=ranking.absent,
        tasks=len(gathered.history.ends),
        window_s=request.window_s,
        covered_s=gathered.history.oldest_s,
    )
