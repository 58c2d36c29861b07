"""The alert rules."""

from typing import Any

from promql import JOBS, gauge, grown, one, rate

RUNBOOK = "docs/operations/incidents.md#"


def alert(
    name: str, expression: str, lasts: str, severity: str, summary: str, description: str, runbook: str
) -> dict[str, Any]:
    """One alert; `runbook` is the anchor of a heading in docs/operations/incidents.md."""
    rule: dict[str, Any] = {"alert": name, "expr": expression}
    if lasts != "0m":
        rule["for"] = lasts
    notes = {"summary": summary, "description": description, "runbook_url": RUNBOOK + runbook}
    return rule | {"labels": {"severity": severity}, "annotations": notes}


RETRAINED = '{kind="retrain", outcome="completed"}'
_5XX = '{status=~"5.."}'
ALERTS = [
    alert(
        "SeedCoreBacklogOld",
        f"{gauge('seedcore_queue_oldest_seconds', 'queue', 'max')} > 300",
        "5m",
        "warning",
        "Tasks of {{ $labels.queue }} wait",
        "The oldest task of {{ $labels.queue }} has been due for {{ $value | humanizeDuration }}.",
        "old-backlog",
    ),
    alert(
        "SeedCoreNoDispatcher",
        f"{gauge('seedcore_queue_depth', 'queue')} > 0 unless on (queue) {gauge('seedcore_dispatchers', 'queue')} > 0",
        "2m",
        "critical",
        "Nobody works on {{ $labels.queue }}",
        "{{ $value }} tasks of {{ $labels.queue }}, and no worker claims from it.",
        "no-dispatcher",
    ),
    alert(
        "SeedCoreDeadLetters",
        grown("seedcore_dead_total", "queue, code", "15m", 10),
        "0m",
        "warning",
        "Tasks of {{ $labels.queue }} fail for good",
        "{{ $value }} in a quarter of an hour, with {{ $labels.code }}.",
        "dead-letters",
    ),
    alert(
        "SeedCoreLeasesLost",
        grown("seedcore_leases_lost_total", "reason", "15m", 5),
        "0m",
        "warning",
        "Workers lose leases",
        "{{ $value }} in a quarter of an hour: {{ $labels.reason }}.",
        "leases-lost",
    ),
    alert(
        "SeedCoreSnapshotStale",
        f"{gauge('seedcore_snapshot_age_seconds', 'worker', 'max')} > 30",
        "1m",
        "warning",
        "{{ $labels.worker }} decides with what is old",
        "Its snapshot is {{ $value | humanizeDuration }} old.",
        "stale-snapshot",
    ),
    alert(
        "SeedCoreStoreDown",
        f"{gauge('seedcore_store_up', 'store', 'min')} == 0",
        "1m",
        "critical",
        "{{ $labels.store }} does not answer",
        "The gateway gets no answer from {{ $labels.store }}.",
        "store-down",
    ),
    alert(
        "SeedCoreNotScraped",
        "absent(seedcore_tasks_running)",
        "5m",
        "critical",
        "No gateway answers /metrics",
        "Nothing is known of SeedCore: the gateway is away, or refuses Prometheus' key.",
        "no-metrics",
    ),
    alert(
        "SeedCoreFallbacks",
        grown("seedcore_fallbacks_total", "fallback", "15m", 10),
        "0m",
        "warning",
        "SeedCore goes a second-best way",
        "{{ $labels.fallback }}: {{ $value }} times in a quarter of an hour.",
        "fall-backs",
    ),
    alert(
        "SeedCoreRefusals",
        f"{rate('seedcore_auth_refusals_total', 'reason', over='5m')} > 1",
        "5m",
        "warning",
        "Many requests are refused for their key",
        "{{ $value | humanize }} a second: {{ $labels.reason }}.",
        "refusals",
    ),
    alert(
        "SeedCoreAuditFailures",
        grown("seedcore_audit_failures_total", "", "10m", 0),
        "0m",
        "critical",
        "The audit log has gaps",
        "{{ $value }} entries were not written in ten minutes.",
        "audit-failures",
    ),
    alert(
        "SeedCoreHttpErrors",
        f"{rate('seedcore_http_requests_total', 'app', _5XX, '5m')} / "
        f"{rate('seedcore_http_requests_total', 'app', over='5m')} > 0.05",
        "5m",
        "warning",
        "{{ $labels.app }} answers with errors",
        "{{ $value | humanizePercentage }} of its answers are 5xx.",
        "http-errors",
    ),
    alert(
        "SeedCoreValveAlarms",
        grown("seedcore_valve_alarms_total", "stream", "1h", 3),
        "0m",
        "warning",
        "{{ $labels.stream }} looks different again and again",
        "{{ $value }} alarms in an hour.",
        "valve-alarms",
    ),
    alert(
        "SeedCoreModelDrifted",
        f"max by (model) (max_over_time(seedcore_model_drift_evidence[15m])) >= 0.5 unless on () "
        f"({grown('seedcore_model_jobs_total', '', '1h', 0, RETRAINED)})",
        "30m",
        "warning",
        "{{ $labels.model }} is outdated, and nothing was retrained",
        'Its monitors have evidence {{ $value | printf "%.2f" }} of a change; no retraining has ended for an hour.',
        "model-drifted",
    ),
    alert(
        "SeedCorePromotionRolledBack",
        grown("seedcore_promotions_total", "outcome", "1h", 0, '{outcome="rolled_back"}'),
        "0m",
        "warning",
        "A champion was taken back",
        "{{ $value }} in an hour: the version before answers again.",
        "promotion-rolled-back",
    ),
    alert(
        "SeedCorePredictionsDropped",
        grown("seedcore_predictions_recorded_total", "result", "15m", 0, '{result!="written"}'),
        "0m",
        "warning",
        "Predictions are not recorded",
        "{{ $value }} {{ $labels.result }} in a quarter of an hour: models are judged without them.",
        "predictions-dropped",
    ),
    alert(
        "SeedCoreModelJobDead",
        grown("seedcore_dead_total", "type, code", "1h", 0, JOBS),
        "0m",
        "warning",
        "{{ $labels.type }} failed for good",
        "{{ $value }} in an hour, with {{ $labels.code }}: the models stay as they are.",
        "model-job-dead",
    ),
    alert(
        "SeedCoreModelsNotLed",
        f'{one("seedcore_role_led")} (seedcore_role_led{{role="models"}}) == 0',
        "2m",
        "critical",
        "No process judges models",
        "No replica of the ML service leads: outcomes are kept, and nothing is decided about models.",
        "models-not-led",
    ),
    alert(
        "SeedCoreGateLag",
        f"{gauge('seedcore_gate_lag_seconds', '', 'max')} > 30",
        "5m",
        "warning",
        "The gate is late",
        "The oldest outcome that it counted last was {{ $value | humanizeDuration }} old.",
        "gate-lag",
    ),
    alert(
        "SeedCoreGraphBehind",
        f"{gauge('seedcore_graph_lag_seconds', '', 'max')} > 60",
        "5m",
        "warning",
        "The knowledge graph is behind",
        "The oldest change that waits for it is {{ $value | humanizeDuration }} old; the rest works.",
        "graph-behind",
    ),
    alert(
        "SeedCoreRayNodeDown",
        'up{job="seedcore-ray"} == 0',
        "2m",
        "warning",
        "{{ $labels.instance }} does not answer on Ray's metrics port",
        "The node is away, or about to go.",
        "ray-node-down",
    ),
]
RULES = {"groups": [{"name": "seedcore", "interval": "15s", "rules": ALERTS}]}
