"""Gathering the evidence that a request names, and telling what came of it."""

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from seedcore.cognitive.evidence import Evidence, Series, Stream, Subject, beliefs
from seedcore.cognitive.reasoning import Reasoned
from seedcore.cognitive.task_history import History, read_ends, read_task
from seedcore.errors import SeedCoreError
from seedcore.schemas.cognitive import (
    HypothesisOut,
    ReasonRequest,
    ReasonResponse,
    SeriesFinding,
    SubjectOut,
    ValveFacts,
)
from seedcore.settings import Settings
from seedcore.stores.postgres import Database

Valves = Callable[[], Awaitable[Mapping[str, Any]]]
"""Gives what `GET /pipeline/valve` shows."""


@dataclass(frozen=True, slots=True)
class Read:
    """The evidence, and the history that it is from."""

    evidence: Evidence
    history: History


class Reader:
    """Reads the database, connected when it is needed, and asks for a stream's valve."""

    def __init__(self, settings: Settings, valves: Valves) -> None:
        self._database, self._valves = Database(settings, name="seedcore-cognitive", size=2), valves

    async def aclose(self) -> None:
        """Close connections."""
        await self._database.aclose()

    async def read(self, request: ReasonRequest) -> Read:
        """All that speaks for or against a cause.

        Raises:
            NotFoundError, ConflictError: there is no such task, or none of its attempts failed.
            UnavailableError: the database is away.
        """
        subject = Subject(stream=request.stream)
        if request.task_id is not None:
            subject = await read_task(self._database, request.task_id)
        history = History([], None)
        if subject.stream is not None:
            history = await read_ends(self._database, request.window_s, request.task_id)
        valve, missing = await self._valve(request.valve, subject.stream)
        series = [_series(finding) for finding in request.findings]
        return Read(Evidence(subject, history.ends, valve, series, missing), history)

    async def _valve(self, given: ValveFacts | None, stream: str | None) -> tuple[Stream | None, dict[str, str]]:
        if given is not None:
            return Stream(given.state, given.evidence, given.arl0, given.since_alarm), {}
        if stream is None:
            return None, {}
        try:
            told = await self._valves()
        except SeedCoreError as error:
            # Reasoning goes on without it, and says so.
            return None, {"work_changed": f"the Coordinator does not tell: {error.detail}"}
        return next((_stream(one["work"]) for one in told["streams"] if one["stream"] == stream), None), {}


def _stream(work: dict[str, Any]) -> Stream:
    last = work.get("last_alarm")
    return Stream(
        work["state"], work.get("evidence"), work.get("arl0"), None if last is None else work["observed"] - last
    )


def _series(finding: SeriesFinding) -> Series:
    if not finding.anomalies:
        return Series(finding.name, finding.points)
    chances = [point.chance for point in finding.anomalies]
    known = [chance for chance in chances if chance is not None]
    # Each chance is of one side.
    chance = None if len(known) < len(chances) else min(1.0, 2 * min(known))
    places = tuple(sorted(point.index for point in finding.anomalies))
    return Series(finding.name, finding.points, places, max(point.score for point in finding.anomalies), chance)


def reasoned(request: ReasonRequest, read: Read, found: Reasoned) -> ReasonResponse:
    """The answer."""
    subject = read.evidence.subject
    ranked = zip(found.hypotheses, beliefs(found.hypotheses), strict=True)
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
                numbers=h.numbers,
            )
            for h, belief in ranked
        ],
        absent=found.absent,
        tasks=len(read.history.ends),
        window_s=request.window_s,
        covered_s=read.history.oldest_s,
    )
