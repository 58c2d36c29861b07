"""Reads what capability gaps are found by: how tasks ended, and which goals no plan reaches today."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence

from seedcore.cognitive.engines.offline.capability_gaps import OpenGoal, capability_gaps
from seedcore.cognitive.engines.offline.cheapest_actions import SearchBounds
from seedcore.cognitive.engines.offline.planner import find_plan
from seedcore.errors import DeadlineError, InvalidInputError
from seedcore.schemas.cognitive.capabilities import AssessCapabilitiesRequest, AssessCapabilitiesResponse
from seedcore.schemas.cognitive.engine_answer import EvidenceOut
from seedcore.settings import Settings
from seedcore.skills.signatures import Signature
from seedcore.stores.postgres import Database
from seedcore.tasks.history import EndsOfType, UnreachedGoal, ends_by_type, unreached_goals

MOST_ENDS, MOST_GOALS, MOST_KINDS = 20_000, 500, 100
CODES = ("no_plan", "llm_not_configured", "plan_unusable")
"""How goals fail for which there is no plan."""


class GapReader:
    """Finds gaps for the offline engine."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings, self._database = settings, database

    async def read(
        self, request: AssessCapabilitiesRequest, skills: Mapping[str, Signature]
    ) -> AssessCapabilitiesResponse:
        """The gaps. A goal that failed in the past is planned again: with the skills of today it may be none.

        Raises:
            UnavailableError: the database does not answer.
        """
        async with self._database.connection() as connection:
            ends = await ends_by_type(connection, request.window_s, MOST_ENDS, request.tenant)
            asked = await unreached_goals(connection, CODES, request.window_s, MOST_GOALS, request.tenant)
        goals = await asyncio.to_thread(self._open_goals, asked, skills)
        gaps = capability_gaps(ends, goals, skills, request.most)
        examined = sum(row.ends for row in ends)
        full = examined >= MOST_ENDS
        return AssessCapabilitiesResponse(
            gaps=gaps,
            skills=len(skills),
            tasks=examined,
            window_s=request.window_s,
            covered_s=max(row.oldest_s for row in ends) if full else None,
            summary=_summary(gaps, examined),
            evidence=_evidence(ends),
        )

    def _open_goals(self, asked: Sequence[UnreachedGoal], skills: Mapping[str, Signature]) -> list[OpenGoal]:
        kinds: Counter[tuple[str, str]] = Counter()
        for each in asked:
            goal, inputs = json.loads(each.goal or "null"), json.loads(each.inputs or "null")
            names = [goal] if isinstance(goal, str) else goal
            if isinstance(names, list) and names and all(isinstance(name, str) and name.strip() for name in names):
                known = inputs if isinstance(inputs, dict) else {}
                kinds[json.dumps(names), json.dumps(known, sort_keys=True)] += 1
        until = time.monotonic() + self._settings.cognitive_timeout_s
        found = []
        for (names, inputs), tasks in kinds.most_common(MOST_KINDS):
            bounds = SearchBounds(self._settings.max_plan_steps, until)
            try:
                find_plan(json.loads(names), json.loads(inputs), skills, bounds)
            except DeadlineError:
                break
            except InvalidInputError as error:
                fields = {e.field: e.message for e in error.errors}
                missing = {f.removeprefix("inputs."): m for f, m in fields.items() if f.startswith("inputs.")}
                found.append(OpenGoal(", ".join(json.loads(names)), tasks, error.detail, missing))
        return found


def _summary(gaps: Sequence[object], examined: int) -> str:
    if not gaps:
        return f"No gap stands out among {examined} ended tasks."
    return f"{len(gaps)} gaps stand out among {examined} ended tasks."


def _evidence(ends: Sequence[EndsOfType]) -> list[EvidenceOut]:
    total: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    for row in ends:
        total[row.type] += row.ends
        failed[row.type] += 0 if row.code is None else row.ends
    return [
        EvidenceOut(
            kind="statistic",
            id=name[:300],
            text=f"{failed[name]} of {count} tasks of {name[:200]} did not complete",
            numbers={"ends": count, "failed": failed[name]},
        )
        for name, count in total.most_common(50)
    ]
