"""Collects a triage's facts about its stream and its findings, for requirements of actions and for reasoning."""

from collections.abc import Mapping

from seedcore.coordinator.policy_runtime import PolicyRuntime
from seedcore.coordinator.triage.retrainings import Retrained
from seedcore.coordinator.triage.webhooks import Webhooks
from seedcore.decision.triage_policy import ActionPolicy, TriagePolicy
from seedcore.schemas.ml.anomaly import DetectResponse
from seedcore.schemas.triage import TriageRequest

TriageFacts = dict[str, bool | int | float | str]
Requirement = Mapping[str, object]

ALARM = 0.5
"""The evidence at which a monitor of a model opens."""

_NEEDS = {"hold": "stream.named", "recalibrate": "valve.learnable", "submit": "task.given", "notify": "webhook.given"}


def needs(name: str, policy: ActionPolicy) -> list[Requirement]:
    """What an action requires: of itself, then by the policy."""
    own: list[Requirement] = []
    if name == "retrain":
        own = [
            {"fact": "model.allowed", "op": "==", "value": True},
            {"fact": "model.open", "op": "==", "value": True},
            {"fact": "model.fresh_rows", "op": ">=", "value": policy.fresh_rows},
            {"fact": "model.wait_s", "op": "<=", "value": 0},
            {"fact": "model.budget", "op": ">=", "value": 1},
        ]
    elif name in _NEEDS:
        own = [{"fact": _NEEDS[name], "op": "==", "value": True}]
    return own + [need.model_dump() for need in policy.requires]


def collect_facts(
    request: TriageRequest,
    policy: TriagePolicy,
    findings: Mapping[str, DetectResponse],
    runtime: PolicyRuntime,
    webhooks: Webhooks,
    retrained: Retrained | None = None,
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
    return facts | _model_facts(request, policy.actions.get("retrain"), retrained)


def _model_facts(request: TriageRequest, policy: ActionPolicy | None, retrained: Retrained | None) -> TriageFacts:
    model = request.model
    facts: TriageFacts = {"model.named": model is not None, "model.open": False}
    if model is None:
        return facts
    facts |= {
        "model.open": model.evidence >= ALARM,
        "model.evidence": model.evidence,
        "model.monitor": model.monitor,
        "model.fresh_rows": model.rows,
        "model.allowed": policy is not None and policy.trains(model.name),
    }
    if policy is not None and retrained is not None:
        facts["model.fresh_needed"] = policy.fresh_rows
        facts["model.wait_s"] = round(retrained.wait_s(policy.every_s), 3)
        facts["model.budget"] = max(policy.per_day - retrained.today, 0)
    return facts


def model_reading(request: TriageRequest) -> dict[str, object] | None:
    """The request's monitor as `schemas.cognitive.failures.ModelFacts`."""
    model = request.model
    if model is None:
        return None
    observed = model.rows if model.observed is None else model.observed
    return {**model.model_dump(include={"name", "monitor", "evidence", "arl0"}), "observed": observed}


def stream_valve(name: str, runtime: PolicyRuntime) -> dict[str, object]:
    """The valve of a stream's work: `schemas.cognitive.failures.ValveFacts`."""
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
