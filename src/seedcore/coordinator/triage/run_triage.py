"""Runs a triage: detects anomalies in series, reasons about them, decides, acts. Recorded before anything is done."""

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import orjson

from seedcore.coordinator.policy_runtime import PolicyRuntime
from seedcore.coordinator.triage.actions import ActionCall, TriageAction, TriageTools
from seedcore.coordinator.triage.recorded_series import recorded
from seedcore.coordinator.triage.repository import TriageRecord, TriageRepository
from seedcore.coordinator.triage.retrainings import retrained
from seedcore.coordinator.triage.triage_facts import ALARM, collect_facts, model_reading, needs, stream_valve
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
from seedcore.schemas.cognitive.decisions import MakeDecisionResponse
from seedcore.schemas.cognitive.failures import ReasonResponse
from seedcore.schemas.ml.anomaly import AnomalyPoint, DetectBatchResponse, DetectResponse
from seedcore.schemas.triage import TriageRequest
from seedcore.tasks.model import new_id
from seedcore.telemetry.logs import get_logger

MAX_INFLIGHT = 8
ACTION_S = 25.0
CHANCE = "chance"
"""The hypothesis that nothing happened."""
MAX_REASONED = 1_000
"""Anomalies of one series that reasoning receives."""

Json = dict[str, object]
Findings = dict[str, DetectResponse]


class Detector(Protocol):
    """Detects anomalies: the ML service's client."""

    async def detect_anomalies(
        self, series: Sequence[Sequence[float]], false_alarm: float | None = None
    ) -> DetectBatchResponse:
        """One item for each series, with `found` or `error`."""


class ReasoningService(Protocol):
    """Reasons and decides: the Cognitive service's client."""

    async def reason_about_failure(self, request: Mapping[str, object]) -> ReasonResponse:
        """Ranked hypotheses."""

    async def make_decision(self, request: Mapping[str, object]) -> MakeDecisionResponse:
        """The option of the least expected loss."""


@dataclass(slots=True)
class TriageRunner:
    """Runs triages, at most MAX_INFLIGHT at once; `recorded` is called when one was recorded."""

    detector: Detector
    reasoning: ReasoningService
    policy: PolicyRuntime
    tools: TriageTools
    actions: Mapping[str, TriageAction]
    repository: TriageRepository
    recorded: Callable[[], None] = lambda: None
    counts: dict[str, int] = field(default_factory=lambda: {"triages": 0, "failed_actions": 0})
    inflight: int = 0
    _acting: set[asyncio.Future[None]] = field(default_factory=set)

    async def run(self, request: TriageRequest) -> Json:
        """The record of this triage, or the first one with its idempotency key.

        Raises:
            OverloadedError: too many triages are running.
            ConflictError: the stream has too few tasks, or the key was used for another request.
            UnavailableError, DeadlineError: database, ML or Cognitive is away; nothing was recorded or done.
            ActionFailedError: the decision was recorded, and the action failed.
        """
        if self.inflight >= MAX_INFLIGHT:
            raise OverloadedError(f"{self.inflight} triages are running already.", retry_after_s=2)
        self.inflight += 1
        try:
            return await self._run(request)
        finally:
            self.inflight -= 1

    async def _run(self, request: TriageRequest) -> Json:
        key, request_hash = request.idempotency_key, _hash(request)
        if key is not None and (first := await self.repository.of_key(key, request_hash)) is not None:
            return first
        policy = self._check(request)
        series = request.given()
        if not series and request.stream is not None:
            series = await recorded(self.tools.database, request.stream)
        findings = await self._detect(series, request.false_alarm)
        reasons = await self._reason(request, findings)
        salience = await self._salience(request, findings, reasons)
        decision = await self._decide(request, policy, findings, reasons, salience)
        details: Json = {
            "request": request.model_dump(mode="json", exclude_unset=True, exclude={"data", "series"}),
            "series": {name: {"points": len(values), "values": values} for name, values in series.items()},
            "findings": {name: found.model_dump(mode="json") for name, found in findings.items()},
            "reasons": reasons.model_dump(mode="json"),
            "decision": decision,
            "salience": salience,
            "policy": self.policy.version,
        }
        triage_id, action = new_id(), str(decision["decision"])
        idle = request.dry_run or action == NONE
        record = TriageRecord(triage_id, request.stream, request.dry_run, action, details)
        if not await self.repository.begin(record, key, request_hash, "decided" if idle else "acting"):
            first = await self.repository.of_key(key or "", request_hash)
            return first if first is not None else await self._run(request)
        self.counts["triages"] += 1
        self.recorded()
        if not idle:
            await self._start_action(record, request, policy)
        return await self.repository.get(triage_id)

    async def _start_action(self, record: TriageRecord, request: TriageRequest, policy: TriagePolicy) -> None:
        call = ActionCall(
            record.id,
            record.stream,
            policy.actions.get(record.action, ActionPolicy()),
            record.details,
            self.tools,
            None if request.task is None else request.task.model_dump(exclude_unset=True),
            request.webhook,
            None if request.model is None else request.model.model_dump(mode="json"),
        )
        acting = asyncio.ensure_future(self._act(record.action, call))
        self._acting.add(acting)
        acting.add_done_callback(self._acting.discard)
        # A client that disconnects must not leave an action half recorded.
        await asyncio.shield(acting)

    def _check(self, request: TriageRequest) -> TriagePolicy:
        policy = self.policy.triage
        if request.webhook is not None and self.tools.webhooks.named(request.webhook) is None:
            raise InvalidInputError.for_field("webhook", f"{request.webhook!r} is not one of SEEDCORE_WEBHOOKS.")
        if request.task is not None:
            self.tools.submission.check(request.task.model_dump(exclude_unset=True))
        return policy

    async def _detect(self, series: Mapping[str, Sequence[float]], false_alarm: float) -> Findings:
        if not series:
            return {}
        answer = await self.detector.detect_anomalies(list(series.values()), false_alarm)
        findings: Findings = {}
        for name, item in zip(series, answer.items, strict=True):
            if item.found is None:
                error = from_problem(item.error or {})
                raise type(error)(f"series {name!r}: {error.detail}", errors=error.errors)
            findings[name] = item.found
        return findings

    async def _reason(self, request: TriageRequest, findings: Findings) -> ReasonResponse:
        reported = [
            {"name": name, "points": found.points, "anomalies": _farthest(found.anomalies)}
            for name, found in findings.items()
        ]
        question: Json = {"findings": reported, "window_s": request.window_s}
        if request.stream is not None:
            question |= {"stream": request.stream, "valve": stream_valve(request.stream, self.policy)}
        if (model := model_reading(request)) is not None:
            question["model"] = model
        return await self.reasoning.reason_about_failure(question)

    async def _salience(self, request: TriageRequest, findings: Findings, reasons: ReasonResponse) -> Json:
        """How much the incident matters: what is known of its stream, and what is likelier than chance."""
        chance = next((h.belief for h in reasons.hypotheses if h.name == CHANCE), 1.0)
        found = any(finding.anomalies for finding in findings.values())
        found = found or (request.model is not None and request.model.evidence >= ALARM)
        return await self.policy.salience.of_incident(request.stream, 1.0 - chance if found else 0.0)

    async def _decide(
        self,
        request: TriageRequest,
        policy: TriagePolicy,
        findings: Findings,
        reasons: ReasonResponse,
        salience: Json,
    ) -> Json:
        before = None
        if request.model is not None:
            async with self.tools.database.connection() as connection:
                before = await retrained(connection, request.model.name)
        facts = collect_facts(request, policy, findings, self.policy, self.tools.webhooks, before)
        facts["salience"] = float(str(salience["score"]))
        if not facts["anomalies"] and facts["valve.state"] != "open" and not facts["model.open"]:
            reason = f"none of {facts['points']} points is an anomaly, and no valve is open"
            return {"method": "default", "decision": policy.default, "reason": reason, "facts": facts}
        options = [
            policy.option(name) | {"requires": needs(name, policy.actions.get(name, ActionPolicy()))}
            for name in dict.fromkeys((NONE, *policy.actions))
        ]
        beliefs = {hypothesis.name: hypothesis.belief for hypothesis in reasons.hypotheses}
        answer = await self.reasoning.make_decision({"options": options, "beliefs": beliefs, "facts": facts})
        return {**answer.model_dump(mode="json"), "facts": facts}

    async def aclose(self) -> None:
        """Wait for running actions."""
        if self._acting:
            await asyncio.wait(self._acting, timeout=ACTION_S)

    async def _act(self, name: str, call: ActionCall) -> None:
        try:
            async with asyncio.timeout(ACTION_S):
                result = await self.actions[name](call)
        except Exception as error:
            failure = _public_error(error)
            self.counts["failed_actions"] += 1
            get_logger("seedcore.coordinator").warning(
                "triage action failed", triage=str(call.id), action=name, reason=failure.detail
            )
            await self.repository.end(call.id, "failed", {"error": problem(failure)})
            raise ActionFailedError(
                f"The action {name!r} of triage {call.id} failed: {failure.detail}", id=str(call.id), cause=failure.code
            ) from error
        await self.repository.end(call.id, "done", result)


def _public_error(error: Exception) -> SeedCoreError:
    if isinstance(error, SeedCoreError):
        return error
    if isinstance(error, TimeoutError):
        return DeadlineError(f"It took longer than {ACTION_S:g} s.")
    return SeedCoreError(f"Unexpected {type(error).__name__}; the service's log has the details.")


def _farthest(anomalies: Sequence[AnomalyPoint]) -> list[Json]:
    """The anomalies of the highest scores, in time order."""
    kept = sorted(anomalies, key=lambda a: -a.score)[:MAX_REASONED]
    return [anomaly.model_dump(mode="json") for anomaly in sorted(kept, key=lambda a: a.index)]


def _hash(request: TriageRequest) -> str:
    left_out = {"idempotency_key"} if request.model is not None else {"idempotency_key", "model"}
    body = request.model_dump(mode="json", exclude=left_out)
    try:
        return hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()
    except TypeError as error:
        raise InvalidInputError(f"The request cannot be written as JSON: {error}.") from None
