"""Collects a triage's facts about its stream and its findings, for requirements of actions and for reasoning."""

from collections.abc import Mapping

from seedcore.coordinator.policy_runtime import PolicyRuntime
from seedcore.coordinator.triage.webhooks import Webhooks
from seedcore.decision.triage_policy import ActionPolicy, TriagePolicy
from seedcore.schemas.anomaly import DetectResponse
from seedcore.schemas.triage import TriageRequest

TriageFacts = dict[str, bool | int | float | str]
Requirement = Mapping[str, object]

NEEDS: dict[str, Requirement] = {
    "hold": {"fact": "stream.named", "op": "==", "value": True},
    "recalibrate": {"fact": "valve.learnable", "op": "==", "value": True},
    "submit": {"fact": "task.given", "op": "==", "value": True},
    "notify": {"fact": "webhook.given", "op": "==", "value": True},
}
"""What an action requires besides the policy's requirements."""


def collect_facts(
    request: TriageRequest,
    policy: TriagePolicy,
    findings: Mapping[str, DetectResponse],
    runtime: PolicyRuntime,
    webhooks: Webhooks,
) -> TriageFacts:
    """The facts that requirements may use; see docs/triage.md."""
    stream = None if request.stream is None else runtime.streams.get(request.stream)
    submit, notify = (policy.actions.get(name, ActionPolicy()) for name in ("submit", "notify"))
    facts: TriageFacts = {
        "stream.named": request.stream is not None,
        "stream.held": request.stream is not None and runtime.holds.of(request.stream) is not None,
        "valve.state": "unwatched" if stream is None else stream.state,
        "valve.learnable": stream is not None and stream.work.learnable,
        "task.given": request.task is not None or submit.task is not None,
        "webhook.given": webhooks.named(request.webhook or notify.webhook) is not None,
        "points": sum(found.points for found in findings.values()),
        "anomalies": sum(len(found.anomalies) for found in findings.values()),
        "anomalies.last": any(_last_is_anomaly(found) for found in findings.values()),
    }
    if stream is not None and stream.status.evidence is not None:
        facts["valve.evidence"] = stream.status.evidence
    return facts


def stream_valve(name: str, runtime: PolicyRuntime) -> dict[str, object]:
    """The valve of a stream's work: `schemas.cognitive.ValveFacts`."""
    stream = runtime.streams.get(name)
    if stream is None:
        return {"state": "unwatched"}
    work = stream.work
    if work.valve is None:
        return {"state": work.state, "evidence": None, "arl0": None, "since_alarm": None}
    since = None if work.alarmed_at is None else work.observed - work.alarmed_at
    arl0 = work.valve.calibration.arl0
    return {"state": work.state, "evidence": work.evidence, "arl0": arl0, "since_alarm": since}


def _last_is_anomaly(found: DetectResponse) -> bool:
    return any(anomaly.index == found.points - 1 for anomaly in found.anomalies)
