"""One triage: the series, what stands out, why, what to do, and doing it. Recorded before anything is done."""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

import orjson

from seedcore.coordinator.policy_runtime import Judgement
from seedcore.coordinator.triage.actions import Act, Call, Tools
from seedcore.coordinator.triage.recorded_series import recorded
from seedcore.coordinator.triage.repository import TriageStore
from seedcore.coordinator.triage.triage_facts import NEEDS, facts_of, valve_of
from seedcore.decision.triage_policy import NONE, ActionPolicy, TriagePolicy
from seedcore.errors import (
    ActionFailedError,
    DeadlineError,
    InvalidInputError,
    OverloadedError,
    SeedCoreError,
    from_problem,
    problem,
)
from seedcore.schemas.triage import TriageRequest
from seedcore.tasks.model import new_id
from seedcore.telemetry.logs import get_logger

MAX_INFLIGHT = 8
ACTION_S = 25.0
MAX_TOLD = 1_000
"""Anomalies of one series that reasoning is told of."""


class Detector(Protocol):
    """Who finds what stands out: the ML service's client."""

    async def detect_anomalies(self, series: Sequence[Sequence[float]], false_alarm: float | None = None) -> Any:
        """One item a series, with `found` or `error`."""


class Mind(Protocol):
    """Who reasons and decides: the Cognitive service's client."""

    async def reason_about_failure(self, request: Mapping[str, Any]) -> Any:
        """Ranked hypotheses."""

    async def make_decision(self, request: Mapping[str, Any]) -> Any:
        """The chosen option."""


@dataclass(slots=True)
class Triage:
    """Does triages, at most MAX_INFLIGHT at once."""

    detector: Detector
    mind: Mind
    judgement: Judgement
    tools: Tools
    actions: Mapping[str, Act]
    store: TriageStore
    counts: dict[str, int] = field(default_factory=lambda: {"triages": 0, "failed_actions": 0})
    inflight: int = 0
    _acting: set[asyncio.Future[None]] = field(default_factory=set)

    async def run(self, request: TriageRequest) -> dict[str, Any]:
        """The record of this triage, or the first one of its idempotency key.

        Raises:
            OverloadedError: too many at once.
            ConflictError: the stream has too few tasks, or the key was used for another request.
            UnavailableError, DeadlineError: database, ML or Cognitive is away; nothing was recorded or done.
            ActionFailedError: all was decided and recorded, and the action failed.
        """
        if self.inflight >= MAX_INFLIGHT:
            raise OverloadedError(f"{self.inflight} triages are under way already.", retry_after_s=2)
        self.inflight += 1
        try:
            return await self._run(request)
        finally:
            self.inflight -= 1

    async def _run(self, request: TriageRequest) -> dict[str, Any]:
        key, request_hash = request.idempotency_key, _hash(request)
        if key is not None and (first := await self.store.of_key(key, request_hash)) is not None:
            return first
        policy = self._checked(request)
        series = request.given() or await recorded(self.tools.database, request.stream or "")
        findings = await self._look(series, request.false_alarm)
        reasons = await self._reason(request, findings)
        decision = await self._decide(request, policy, findings, reasons)
        told = {
            "request": request.model_dump(mode="json", exclude_unset=True, exclude={"data", "series"}),
            "series": {name: {"points": len(values), "values": values} for name, values in series.items()},
            "findings": findings,
            "reasons": reasons,
            "decision": decision,
            "policy": self.judgement.version,
        }
        triage_id, action = new_id(), str(decision["decision"])
        idle = request.dry_run or action == NONE
        record = {"stream": request.stream, "dry_run": request.dry_run, "action": action, "told": told}
        if not await self.store.begin(triage_id, key, request_hash, record, "decided" if idle else "acting"):
            first = await self.store.of_key(key or "", request_hash)
            return first if first is not None else await self._run(request)
        self.counts["triages"] += 1
        if not idle:
            call = Call(
                triage_id,
                request.stream,
                policy.actions.get(action, ActionPolicy()),
                told,
                self.tools,
                None if request.task is None else request.task.model_dump(exclude_unset=True),
                request.webhook,
            )
            acting = asyncio.ensure_future(self._act(action, call))
            self._acting.add(acting)
            acting.add_done_callback(self._acting.discard)
            # A client that leaves must not leave an action half recorded.
            await asyncio.shield(acting)
        return await self.store.get(triage_id)

    def _checked(self, request: TriageRequest) -> TriagePolicy:
        policy = self.judgement.triage
        if request.webhook is not None and self.tools.webhooks.named(request.webhook) is None:
            raise InvalidInputError(f"webhook: {request.webhook!r} is not one of SEEDCORE_WEBHOOKS.")
        if request.task is not None:
            self.tools.submission.check(request.task.model_dump(exclude_unset=True))
        return policy

    async def _look(self, series: Mapping[str, Sequence[float]], false_alarm: float) -> dict[str, Any]:
        answer = await self.detector.detect_anomalies(list(series.values()), false_alarm)
        findings = {}
        for name, item in zip(series, answer.items, strict=True):
            if item.error is not None:
                error = from_problem(item.error)
                raise type(error)(f"series {name!r}: {error.detail}", errors=error.errors)
            findings[name] = item.found.model_dump(mode="json")
        return findings

    async def _reason(self, request: TriageRequest, findings: Mapping[str, Any]) -> dict[str, Any]:
        told = [
            {"name": name, "points": found["points"], "anomalies": _farthest(found["anomalies"])}
            for name, found in findings.items()
        ]
        asked: dict[str, Any] = {"findings": told, "window_s": request.window_s}
        if request.stream is not None:
            asked |= {"stream": request.stream, "valve": valve_of(request.stream, self.judgement)}
        answer = await self.mind.reason_about_failure(asked)
        reasons: dict[str, Any] = answer.model_dump(mode="json")
        return reasons

    async def _decide(
        self,
        request: TriageRequest,
        policy: TriagePolicy,
        findings: Mapping[str, Any],
        reasons: Mapping[str, Any],
    ) -> dict[str, Any]:
        facts = facts_of(request, policy, findings, self.judgement, self.tools.webhooks)
        if not facts["anomalies"] and facts["valve.state"] != "open":
            reason = f"none of {facts['points']} points stands out, and no valve is open"
            return {"method": "default", "decision": policy.default, "reason": reason, "facts": facts}
        options = [
            policy.option(name)
            | {
                "requires": [
                    *([NEEDS[name]] if name in NEEDS else []),
                    *(need.model_dump() for need in policy.actions.get(name, ActionPolicy()).requires),
                ]
            }
            for name in dict.fromkeys((NONE, *policy.actions))
        ]
        beliefs = {h["name"]: h["belief"] for h in reasons["hypotheses"]}
        answer = await self.mind.make_decision({"options": options, "beliefs": beliefs, "facts": facts})
        decision: dict[str, Any] = answer.model_dump(mode="json")
        return decision | {"facts": facts}

    async def aclose(self) -> None:
        """Wait for actions that are under way."""
        if self._acting:
            await asyncio.wait(self._acting, timeout=ACTION_S)

    async def _act(self, name: str, call: Call) -> None:
        try:
            async with asyncio.timeout(ACTION_S):
                result = await self.actions[name](call)
        except Exception as error:
            failed = _told(error)
            self.counts["failed_actions"] += 1
            get_logger("seedcore.coordinator").warning(
                "a triage's action failed", triage=str(call.id), action=name, reason=failed.detail
            )
            await self.store.end(call.id, "failed", {"error": problem(failed)})
            raise ActionFailedError(
                f"The action {name!r} of triage {call.id} failed: {failed.detail}", id=str(call.id), cause=failed.code
            ) from error
        await self.store.end(call.id, "done", result)


def _told(error: Exception) -> SeedCoreError:
    if isinstance(error, SeedCoreError):
        return error
    if isinstance(error, TimeoutError):
        return DeadlineError(f"It took longer than {ACTION_S:g} s.")
    return SeedCoreError(f"Unexpected {type(error).__name__}; the service's log has the details.")


def _farthest(anomalies: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    kept = sorted(anomalies, key=lambda a: -float(a["score"]))[:MAX_TOLD]
    return sorted(kept, key=lambda a: int(a["index"]))


def _hash(request: TriageRequest) -> str:
    body = request.model_dump(mode="json", exclude={"idempotency_key"})
    try:
        return hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()
    except TypeError as error:
        raise InvalidInputError(f"The request cannot be written as JSON: {error}.") from None


def page(records: Sequence[Mapping[str, Any]], limit: int) -> dict[str, Any]:
    """`{items, next_cursor}` of one record more than a page."""
    items = list(records[:limit])
    return {"items": items, "next_cursor": items[-1]["id"] if len(records) > limit else None}


def triage_id(text: str) -> UUID:
    """An id from a path or a cursor.

    Raises:
        InvalidInputError: it is none.
    """
    try:
        return UUID(text)
    except ValueError:
        raise InvalidInputError(f"{text!r} is no triage's id.") from None
