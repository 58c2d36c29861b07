"""Every metric of SeedCore: the one list that code, documentation, dashboards and alert rules are held against."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]
Source = Literal["process", "database"]

_SHORT = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0, 10.0)
"""Statements and requests."""
_LONG = (0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0, 3600.0)
"""What a task waits and takes."""
_TASK = ("queue", "type")


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """One metric.

    Attributes:
        name: as Prometheus shows it; on Ray's port with `ray_` before it.
        kind: a histogram shows `_bucket`, `_sum` and `_count` behind its name.
        labels: names of its labels, in the order of its keys.
        help: one line for people.
        unit: what its value counts.
        bounds: upper bounds of a histogram's buckets, ascending; empty for other kinds.
        source: counted by processes, or read from the database when it is asked for.
    """

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str
    unit: str
    bounds: tuple[float, ...] = ()
    source: Source = "process"


def _counter(name: str, labels: tuple[str, ...], text: str, unit: str) -> MetricSpec:
    return MetricSpec(name, "counter", labels, text, unit)


def _gauge(name: str, labels: tuple[str, ...], text: str, unit: str) -> MetricSpec:
    return MetricSpec(name, "gauge", labels, text, unit)


def _histogram(name: str, labels: tuple[str, ...], text: str, bounds: tuple[float, ...]) -> MetricSpec:
    return MetricSpec(name, "histogram", labels, text, "seconds", bounds)


def _stored(name: str, labels: tuple[str, ...], text: str, unit: str) -> MetricSpec:
    return MetricSpec(name, "gauge", labels, text, unit, source="database")


CATALOGUE: tuple[MetricSpec, ...] = (
    _histogram("seedcore_task_wait_seconds", _TASK, "From when a task was due to when a worker claimed it.", _LONG),
    _histogram("seedcore_task_start_seconds", _TASK, "From the claim of a task to the beginning of its skill.", _LONG),
    _histogram("seedcore_task_run_seconds", _TASK, "How long the skill of an attempt ran.", _LONG),
    _histogram("seedcore_task_total_seconds", _TASK, "From the submission of a task to its end.", _LONG),
    _histogram("seedcore_claim_seconds", ("queue",), "One statement that ends tasks and claims what is next.", _SHORT),
    _histogram("seedcore_http_request_seconds", ("app",), "From a request to the beginning of its answer.", _SHORT),
    _counter("seedcore_attempts_total", (*_TASK, "outcome"), "Attempts that ended, by how they ended.", "attempts"),
    _counter("seedcore_dead_total", (*_TASK, "code"), "Tasks that failed for good, by their error code.", "tasks"),
    _counter("seedcore_leases_lost_total", ("reason",), "Leases that a worker held and lost.", "leases"),
    _counter(
        "seedcore_stale_writes_total",
        ("operation",),
        "Writes that changed nothing, because the lease had been lost.",
        "writes",
    ),
    _counter("seedcore_decisions_total", ("route",), "Decisions about tasks, by route.", "decisions"),
    _counter(
        "seedcore_energy_expected_seconds_total", ("type",), "Seconds that decisions expected of attempts.", "seconds"
    ),
    _counter(
        "seedcore_energy_realised_seconds_total", ("type",), "Seconds that the same attempts really took.", "seconds"
    ),
    _counter("seedcore_model_predictions_total", ("model", "version"), "Rows that models predicted.", "rows"),
    _counter("seedcore_valve_alarms_total", ("stream",), "Alarms of the valve.", "alarms"),
    _counter("seedcore_plans_total", ("outcome",), "Plans that were asked for, by what came of it.", "plans"),
    _counter("seedcore_plan_spent_total", ("unit",), "What plans have spent of their budgets.", "units"),
    _counter("seedcore_model_jobs_total", ("kind", "outcome"), "Attempts of models' jobs, by their end.", "attempts"),
    _counter("seedcore_model_calls_total", ("model", "outcome"), "Calls of language models.", "calls"),
    _counter("seedcore_model_tokens_total", ("model", "direction"), "Tokens of language models.", "tokens"),
    _counter("seedcore_model_money_total", ("model",), "What calls of language models cost.", "money"),
    _counter(
        "seedcore_model_budget_refusals_total",
        ("budget",),
        "Calls of language models that were not sent, by the budget that they would exceed.",
        "calls",
    ),
    _counter(
        "seedcore_fallbacks_total", ("fallback",), "Times that a second-best way was taken, by its name.", "times"
    ),
    _counter(
        "seedcore_memories_total",
        ("event",),
        "Memories that were fed by SeedCore itself, and those that were forgotten: faded, or over the bound.",
        "memories",
    ),
    _counter("seedcore_ray_connections_total", ("outcome",), "Connections to Ray, made and failed.", "connections"),
    _counter(
        "seedcore_http_requests_total", ("app", "method", "status"), "HTTP requests, by class of status.", "requests"
    ),
    _counter("seedcore_auth_refusals_total", ("reason",), "Requests that were refused for their key.", "requests"),
    _counter("seedcore_audit_failures_total", (), "Entries of the audit log that could not be written.", "entries"),
    _counter("seedcore_spans_dropped_total", (), "Spans of traces that could not be exported.", "spans"),
    _counter("seedcore_model_outcomes_total", ("result",), "Labels of predictions that were posted.", "outcomes"),
    _counter("seedcore_promotions_total", ("outcome",), "Promotions, by what became of them.", "promotions"),
    _counter(
        "seedcore_predictions_recorded_total", ("result",), "Predictions that were to be recorded.", "predictions"
    ),
    _counter("seedcore_graph_changes_total", (), "Changes that the graph has got.", "changes"),
    _gauge("seedcore_gate_lag_seconds", (), "Age of the oldest outcome when the gate last counted some.", "seconds"),
    _gauge("seedcore_snapshot_age_seconds", ("worker",), "Age of what a worker decides with.", "seconds"),
    _gauge("seedcore_valve_evidence", ("stream",), "The valve's evidence of a change (e-value).", "e-value"),
    _gauge(
        "seedcore_model_drift_evidence",
        ("model", "monitor"),
        "Evidence of a champion's monitors that something changed; an alarm is at 0.5.",
        "evidence",
    ),
    _gauge(
        "seedcore_model_accuracy", ("model",), "Share of right answers among a champion's newest outcomes.", "ratio"
    ),
    _gauge("seedcore_energy_term", ("term",), "Terms of the potential, as last computed.", "energy"),
    _stored("seedcore_graph_lag_seconds", (), "Age of the oldest change that waits for the graph in use.", "seconds"),
    _stored("seedcore_graph_pending_changes", (), "Changes that wait for the graph, in use or not.", "changes"),
    _stored(
        "seedcore_queue_depth",
        ("queue", "state"),
        "Tasks that wait; long queues are estimated.",
        "tasks",
    ),
    _stored("seedcore_queue_oldest_seconds", ("queue",), "How long the oldest task has been due.", "seconds"),
    _stored(
        "seedcore_type_depth",
        _TASK,
        "Tasks that are due, by type; long queues are estimated.",
        "tasks",
    ),
    _stored(
        "seedcore_tenant_depth",
        ("tenant",),
        "Tasks that are due, by tenant; long queues are estimated.",
        "tasks",
    ),
    _stored("seedcore_tasks_running", (), "Tasks that workers hold.", "tasks"),
    _stored(
        "seedcore_tasks_waiting",
        (),
        "Tasks that wait for steps, counted up to 10,000.",
        "tasks",
    ),
    _stored("seedcore_tasks_approval", (), "Tasks that wait for a person's approval, counted up to 10,000.", "tasks"),
    _stored("seedcore_dead_letters", (), "Tasks that failed and are kept, estimated beyond 10,000.", "tasks"),
    _stored("seedcore_dispatchers", ("queue",), "Workers with a living session.", "workers"),
    _stored("seedcore_agents", ("organ", "status"), "Agents, by organ and status.", "agents"),
    _stored("seedcore_role_led", ("role",), "1 while some process leads in this role, else 0.", "state"),
    _stored("seedcore_store_up", ("store",), "1 when the store answers, else 0.", "state"),
)

BY_NAME: dict[str, MetricSpec] = {spec.name: spec for spec in CATALOGUE}

FALLBACKS: dict[str, str] = {
    "answer_without_memory": "Memory or facts could not be read, and Cognitive answered without them.",
    "aliases_stale": "The database did not answer, and the last known aliases of models were used.",
    "bootstrap_http": "Bootstrap found no Ray, and reached the Organism over HTTP.",
    "bounded_report": "A host reported an impossible time or amount; the nearest possible value was taken.",
    "default_retry_policy": "A host was lost, and the retry policies of its skills could not be read.",
    "flashbulb_postgres": "MySQL did not take an incident, which waits in PostgreSQL until it does.",
    "http": "A service had no Serve handle, and was called over HTTP.",
    "known_keys": "The database did not answer, and a key was judged by what was known of it.",
    "ml_predict_remote": "A worker whose node lacks the model folder asked the ML service for predictions.",
    "moves_without_memory": "Memory did not answer, and a move for escalated work was chosen without it.",
    "no_forecast": "The ML service did not forecast for the Organism, which scaled by measured load alone.",
    "no_plan": "No plan was available, and the task ran as it is.",
    "memory_being_embedded": "The embedder before cannot be asked: memories without a new vector are found by words.",
    "memory_without_embedder": "The embedder failed: a memory was kept, or searched for, by its words alone.",
    "memory_without_vectors": "The database has no pgvector 0.8: memories are kept and searched by their words alone.",
    "offline_engine": "The language model gave no usable answer, and Cognitive's offline engine answered.",
    "old_routing_table": "The Organism did not answer the Coordinator, which went on with the table that it had.",
    "old_snapshot": "A task was decided about with a snapshot older than 5 s.",
    "polling": "The event feed could not listen to the database, and polled.",
    "reaper": "A worker took the lead of the reaper, which was away.",
    "salience_formula": "The learned salience did not answer, or ML did not; the formula or the last score counted.",
    "stored_snapshot": "No Coordinator answered a new worker, which took the snapshot in PostgreSQL.",
    "unnoted_begin": "A call began that could not be noted: after a crash it counts as an attempt.",
    "working_memory_process": "Redis did not answer the working memory, and the process's own cache answered alone.",
}
"""What the label of `seedcore_fallbacks_total` says."""
