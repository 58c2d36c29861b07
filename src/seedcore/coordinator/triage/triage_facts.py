"""What a triage knows of its stream and its findings, for requirements and for reasoning."""

from collections.abc import Mapping
from typing import Any

from seedcore.coordinator.policy_runtime import Judgement
from seedcore.coordinator.triage.webhooks import Webhooks
from seedcore.decision.triage_policy import ActionPolicy, TriagePolicy
from seedcore.schemas.triage import TriageRequest

NEEDS: dict[str, dict[str, Any]] = {
    "hold": {"fact": "stream.named", "op": "==", "value": True},
    "recalibrate": {"fact": "valve.learnable", "op": "==", "value": True},
    "submit": {"fact": "task.given", "op": "==", "value": True},
    "notify": {"fact": "webhook.given", "op": "==", "value": True},
}
"""What an action needs, beside what the policy says."""


def facts_of(
    request: TriageRequest,
    policy: TriagePolicy,
    findings: Mapping[str, Any],
    judgement: Judgement,
    webhooks: Webhooks,
) -> dict[str, Any]:
    """What requirements may ask about; see docs/triage.md."""
    stream = None if request.stream is None else judgement.streams.get(request.stream)
    submits, tells = (policy.actions.get(name, ActionPolicy()) for name in ("submit", "notify"))
    facts: dict[str, Any] = {
        "stream.named": request.stream is not None,
        "stream.held": request.stream is not None and judgement.holds.of(request.stream) is not None,
        "valve.state": "unwatched" if stream is None else stream.state,
        "valve.learnable": stream is not None and stream.work.learnable,
        "task.given": request.task is not None or submits.task is not None,
        "webhook.given": webhooks.named(request.webhook or tells.webhook) is not None,
        "points": sum(found["points"] for found in findings.values()),
        "anomalies": sum(len(found["anomalies"]) for found in findings.values()),
        "anomalies.last": any(_last_stands_out(found) for found in findings.values()),
    }
    if stream is not None and stream.standing.evidence is not None:
        facts["valve.evidence"] = stream.standing.evidence
    return facts


def valve_of(name: str, judgement: Judgement) -> dict[str, Any]:
    """What the valve says of a stream's work: `schemas.cognitive.ValveFacts`."""
    stream = judgement.streams.get(name)
    if stream is None:
        return {"state": "unwatched"}
    work = stream.work.report()
    since = None if work.get("last_alarm") is None else work["observed"] - work["last_alarm"]
    return {"state": work["state"], "evidence": work.get("evidence"), "arl0": work.get("arl0"), "since_alarm": since}


def _last_stands_out(found: Mapping[str, Any]) -> bool:
    return any(a["index"] == found["points"] - 1 for a in found["anomalies"])
