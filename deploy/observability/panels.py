"""What the dashboards show."""

from typing import Any

from promql import JOBS, gauge, one, quantile, rate

Panel = dict[str, Any]


def series(title: str, *targets: tuple[str, str], unit: str = "short", description: str = "") -> Panel:
    """A graph over time of (expression, legend)."""
    return {"type": "timeseries", "title": title, "targets": targets, "unit": unit, "description": description}


def stat(title: str, expression: str, unit: str = "short") -> Panel:
    """One number."""
    return {"type": "stat", "title": title, "targets": [(expression, "")], "unit": unit, "description": ""}


def times(name: str, by: str, legend: str) -> list[tuple[str, str]]:
    """Median and 99th percentile."""
    return [(quantile(q, name, by), f"{legend} p{q * 100:g}") for q in (0.5, 0.99)]


DASHBOARDS: dict[str, tuple[str, list[Panel]]] = {
    "overview": (
        "SeedCore: overview",
        [
            stat("Tasks running", gauge("seedcore_tasks_running")),
            stat("Tasks waiting for others", gauge("seedcore_tasks_waiting")),
            stat("Tasks waiting for approval", gauge("seedcore_tasks_approval")),
            stat("Dead letters", gauge("seedcore_dead_letters")),
            series("Tasks that have not ended", (gauge("seedcore_queue_depth", "state"), "{{state}}")),
            series(
                "Oldest task that is due",
                (gauge("seedcore_queue_oldest_seconds", "queue", "max"), "{{queue}}"),
                unit="s",
            ),
            series("Attempts ended", (rate("seedcore_attempts_total", "outcome"), "{{outcome}}"), unit="ops"),
            series("Submitted to ended", *times("seedcore_task_total_seconds", "", ""), unit="s"),
            series("Workers", (gauge("seedcore_dispatchers", "queue"), "{{queue}}")),
            series("Stores that answer", (gauge("seedcore_store_up", "store", "min"), "{{store}}")),
            series("HTTP requests", (rate("seedcore_http_requests_total", "status"), "{{status}}"), unit="reqps"),
            series("Alerts", ('sum by (alertname) (ALERTS{alertstate="firing"})', "{{alertname}}")),
        ],
    ),
    "tasks": (
        "SeedCore: tasks by queue and type",
        [
            series("Depth of queues", (gauge("seedcore_queue_depth", "queue, state"), "{{queue}} {{state}}")),
            series(
                "Oldest task that is due",
                (gauge("seedcore_queue_oldest_seconds", "queue", "max"), "{{queue}}"),
                unit="s",
            ),
            series("Due, by type", (gauge("seedcore_type_depth", "queue, type"), "{{queue}} {{type}}")),
            series(
                "Attempts ended, by type",
                (rate("seedcore_attempts_total", "type, outcome"), "{{type}} {{outcome}}"),
                unit="ops",
            ),
            series("Due to claimed", *times("seedcore_task_wait_seconds", "queue", "{{queue}}"), unit="s"),
            series("Claimed to begun", *times("seedcore_task_start_seconds", "queue", "{{queue}}"), unit="s"),
            series("Running", *times("seedcore_task_run_seconds", "type", "{{type}}"), unit="s"),
            series("Submitted to ended", *times("seedcore_task_total_seconds", "type", "{{type}}"), unit="s"),
            series("Failed for good", (rate("seedcore_dead_total", "type, code"), "{{type}} {{code}}"), unit="ops"),
            series("Dead letters", (gauge("seedcore_dead_letters"), "kept")),
        ],
    ),
    "workers": (
        "SeedCore: workers and leases",
        [
            series("Workers by queue", (gauge("seedcore_dispatchers", "queue"), "{{queue}}")),
            series("Agents", (gauge("seedcore_agents", "organ, status"), "{{organ}} {{status}}")),
            series("Claims", *times("seedcore_claim_seconds", "queue", "{{queue}}"), unit="s"),
            series("Leases lost", (rate("seedcore_leases_lost_total", "reason"), "{{reason}}"), unit="ops"),
            series(
                "Writes refused for an old lease",
                (rate("seedcore_stale_writes_total", "operation"), "{{operation}}"),
                unit="ops",
            ),
            series(
                "Age of snapshots", (gauge("seedcore_snapshot_age_seconds", "worker", "max"), "{{worker}}"), unit="s"
            ),
            series("Fall-backs", (rate("seedcore_fallbacks_total", "fallback"), "{{fallback}}"), unit="ops"),
            series("Memories fed and forgotten", (rate("seedcore_memories_total", "event"), "{{event}}"), unit="ops"),
            series("Lag of the graph", (gauge("seedcore_graph_lag_seconds", "", "max"), "oldest change"), unit="s"),
            series(
                "Changes for the graph",
                (gauge("seedcore_graph_pending_changes", "", "max"), "waiting"),
                (rate("seedcore_graph_changes_total", ""), "applied a second"),
            ),
            series(
                "Connections to Ray", (rate("seedcore_ray_connections_total", "outcome"), "{{outcome}}"), unit="ops"
            ),
            series(
                "Claims by node, p99, from Ray's port",
                (
                    "histogram_quantile(0.99, sum by (le, instance) "
                    "(rate(ray_seedcore_claim_seconds_bucket[$__rate_interval])))",
                    "{{instance}}",
                ),
                unit="s",
            ),
            series(
                "Attempts by node, from Ray's port",
                (
                    "sum by (instance, outcome) (rate(ray_seedcore_attempts_total[$__rate_interval]))",
                    "{{instance}} {{outcome}}",
                ),
                unit="ops",
            ),
        ],
    ),
    "decisions": (
        "SeedCore: decisions, energy and valve",
        [
            series("Decisions", (rate("seedcore_decisions_total", "route"), "{{route}}"), unit="ops"),
            series(
                "Realised over expected seconds",
                (
                    f"{rate('seedcore_energy_realised_seconds_total', 'type')} / "
                    f"{rate('seedcore_energy_expected_seconds_total', 'type')}",
                    "{{type}}",
                ),
                unit="percentunit",
                description="1: attempts take what decisions expected of them.",
            ),
            series("Terms of the potential", (gauge("seedcore_energy_term", "term"), "{{term}}")),
            series(
                "Evidence of a change",
                (gauge("seedcore_valve_evidence", "stream", "max"), "{{stream}}"),
                unit="percentunit",
            ),
            series("Alarms of the valve", (rate("seedcore_valve_alarms_total", "stream"), "{{stream}}"), unit="ops"),
            series(
                "Predictions of models",
                (rate("seedcore_model_predictions_total", "model, version"), "{{model}} {{version}}"),
                unit="ops",
            ),
            series("Plans", (rate("seedcore_plans_total", "outcome"), "{{outcome}}"), unit="ops"),
            series("Spent by plans", (rate("seedcore_plan_spent_total", "unit"), "{{unit}}"), unit="ops"),
            series(
                "Calls of language models",
                (rate("seedcore_model_calls_total", "model, outcome"), "{{model}} {{outcome}}"),
                unit="ops",
            ),
            series(
                "Tokens",
                (rate("seedcore_model_tokens_total", "model, direction"), "{{model}} {{direction}}"),
                unit="ops",
            ),
            series("Money a day", (f"86400 * {rate('seedcore_model_money_total', 'model')}", "{{model}}")),
            series(
                "Calls that a budget stopped",
                (rate("seedcore_model_budget_refusals_total", "budget"), "{{budget}}"),
                unit="ops",
            ),
        ],
    ),
    "tenants": (
        "SeedCore: tenants and fairness",
        [
            series("Due, by tenant", (gauge("seedcore_tenant_depth", "tenant"), "{{tenant}}")),
            series(
                "Share of what is due",
                (
                    f"{gauge('seedcore_tenant_depth', 'tenant')} / on () group_left () "
                    f"(sum({one('seedcore_tenant_depth')} (seedcore_tenant_depth)) > 0)",
                    "{{tenant}}",
                ),
                unit="percentunit",
            ),
            series(
                "Tenants with tasks that are due",
                (f"count({one('seedcore_tenant_depth')} (seedcore_tenant_depth) > 0)", "tenants"),
            ),
            series(
                "Due to claimed, p99", (quantile(0.99, "seedcore_task_wait_seconds", "queue"), "{{queue}}"), unit="s"
            ),
            series(
                "Oldest task that is due",
                (gauge("seedcore_queue_oldest_seconds", "queue", "max"), "{{queue}}"),
                unit="s",
            ),
        ],
    ),
    "http": (
        "SeedCore: HTTP and keys",
        [
            series(
                "Requests", (rate("seedcore_http_requests_total", "app, method"), "{{app}} {{method}}"), unit="reqps"
            ),
            series(
                "Answers", (rate("seedcore_http_requests_total", "app, status"), "{{app}} {{status}}"), unit="reqps"
            ),
            series("Time of requests", *times("seedcore_http_request_seconds", "app", "{{app}}"), unit="s"),
            series(
                "Share of errors",
                (
                    f"""{rate("seedcore_http_requests_total", "app", '{status=~"5.."}')} / """
                    f"{rate('seedcore_http_requests_total', 'app')}",
                    "{{app}}",
                ),
                unit="percentunit",
            ),
            series(
                "Refused for their key", (rate("seedcore_auth_refusals_total", "reason"), "{{reason}}"), unit="reqps"
            ),
            series("Audit entries not written", (gauge("seedcore_audit_failures_total"), "since ever")),
            series("Spans not exported", (rate("seedcore_spans_dropped_total"), "spans"), unit="ops"),
        ],
    ),
    "models": (
        "SeedCore: models",
        [
            series("Outcomes posted", (rate("seedcore_model_outcomes_total", "result"), "{{result}}"), unit="ops"),
            series("Promotions", (gauge("seedcore_promotions_total", "outcome"), "{{outcome}}, since ever")),
            series(
                "Evidence of drift (alarm at 0.5)",
                (gauge("seedcore_model_drift_evidence", "model, monitor"), "{{model}} {{monitor}}"),
            ),
            series(
                "Accuracy of the newest outcomes",
                (gauge("seedcore_model_accuracy", "model"), "{{model}}"),
                unit="percentunit",
            ),
            series(
                "Predictions recorded",
                (rate("seedcore_predictions_recorded_total", "result"), "{{result}}"),
                unit="ops",
            ),
            series(
                "Jobs of models",
                (rate("seedcore_model_jobs_total", "kind, outcome"), "{{kind}} {{outcome}}"),
                unit="ops",
            ),
            series("Lag of the gate", (gauge("seedcore_gate_lag_seconds", "", "max"), "oldest outcome"), unit="s"),
            series(
                "Roles that a process leads in",
                (gauge("seedcore_role_led", "role", "max"), "{{role}}"),
                description="models: the gate, the monitors and arrivals of one replica of ML. 0: none does it.",
            ),
            series(
                "Fall-backs of models",
                (
                    rate(
                        "seedcore_fallbacks_total",
                        "fallback",
                        '{fallback=~"aliases_stale|ml_predict_remote|salience_formula"}',
                    ),
                    "{{fallback}}",
                ),
                unit="ops",
            ),
            series(
                "Jobs of models that failed for good",
                (rate("seedcore_dead_total", "type, code", JOBS), "{{type}} {{code}}"),
                unit="ops",
            ),
        ],
    ),
}
