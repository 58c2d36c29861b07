"""The one table of what each route of every application needs: a scope, and a platform caller or not."""

from collections.abc import Mapping
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class RouteRule:
    """What a route needs.

    Attributes:
        scope: what the caller must hold (`admin` holds all).
        platform: it concerns all tenants, so a tenant's key may not do it.
        audited: it goes into the audit log whatever its status; refusals always do.
        upload: its body is a file, bounded by SEEDCORE_MAX_DATASET_BYTES instead of SEEDCORE_MAX_BATCH_BYTES.
        placeholder_keys: its clients always send a key. Where requests without one are let in, one that cannot be
            SeedCore's (a stored key, a token) counts as none.
    """

    scope: str
    platform: bool = False
    audited: bool = False
    upload: bool = False
    placeholder_keys: bool = False


READ = RouteRule("read")
READ_ALL = replace(READ, platform=True)
SUBMIT = RouteRule("submit")
SUBMIT_ALL = replace(SUBMIT, platform=True)
PLAN_WORK = replace(SUBMIT, audited=True)
"""What changes more than one submission: what submits later, again and again, and what was held to be true."""
APPROVE = RouteRule("approve", audited=True)
OPERATE = RouteRule("operate", audited=True)
OPERATE_ALL = replace(OPERATE, platform=True)
REPORT = RouteRule("operate", platform=True)
"""What SeedCore's own processes report; too often for the audit log, and no decision of a person."""
ADMIN_READ = RouteRule("admin")
ADMIN_READ_ALL = replace(ADMIN_READ, platform=True)
ADMIN = RouteRule("admin", audited=True)
ADMIN_ALL = replace(ADMIN, platform=True)

UNLISTED = RouteRule("admin", platform=True)
"""A route that the table does not have: a test holds that there is none."""

PREFIXES: Mapping[str, str] = {
    "gateway": "",
    "coordinator": "/pipeline",
    "MLService": "/ml",
    "CognitiveService": "/cognitive",
    "state": "/state",
    "energy": "/energy",
    "organism": "/organism",
}
"""Where each application answers; the audit log names routes with it."""

_COMMON = {
    "GET /health": READ,
    "GET /docs": READ,
    "GET /docs/oauth2-redirect": READ,
    "GET /redoc": READ,
    "GET /openapi.json": READ,
}

_GATEWAY = {
    "GET /": READ,
    "GET /readyz": READ,
    "GET /metrics": READ_ALL,
    "GET /api/v1/health": READ,
    "POST /api/v1/tasks": SUBMIT,
    "POST /api/v1/tasks/batch": SUBMIT,
    "GET /api/v1/tasks": READ,
    "GET /api/v1/tasks/{task_id}": READ,
    "GET /api/v1/tasks/{task_id}/plan": READ,
    "GET /api/v1/tasks/{task_id}/events": READ,
    "POST /api/v1/tasks/{task_id}/cancel": OPERATE,
    "POST /api/v1/tasks/{task_id}/retry": OPERATE,
    "POST /api/v1/tasks/{task_id}/approve": APPROVE,
    "POST /api/v1/tasks/{task_id}/reject": APPROVE,
    "GET /api/v1/events": READ,
    "GET /api/v1/queue": READ,
    "POST /api/v1/queue/{queue}/pause": OPERATE_ALL,
    "POST /api/v1/queue/{queue}/resume": OPERATE_ALL,
    "GET /api/v1/skills": READ,
    "GET /api/v1/dead": READ,
    "GET /api/v1/dead/counts": READ,
    "POST /api/v1/dead/requeue": OPERATE,
    "GET /api/v1/limits": READ,
    "GET /api/v1/limits/{key:path}": READ,
    "PUT /api/v1/limits/{key:path}": OPERATE,
    "DELETE /api/v1/limits/{key:path}": OPERATE,
    "GET /api/v1/schedules": READ,
    "POST /api/v1/schedules": PLAN_WORK,
    "GET /api/v1/schedules/{schedule_id}": READ,
    "PUT /api/v1/schedules/{schedule_id}": PLAN_WORK,
    "DELETE /api/v1/schedules/{schedule_id}": PLAN_WORK,
    "POST /api/v1/schedules/{schedule_id}/pause": PLAN_WORK,
    "POST /api/v1/schedules/{schedule_id}/resume": PLAN_WORK,
    "POST /api/v1/schedules/{schedule_id}/fire": PLAN_WORK,
    "GET /api/v1/facts": READ,
    "POST /api/v1/facts": SUBMIT,
    "GET /api/v1/facts/{fact_id}": READ,
    "PUT /api/v1/facts/{fact_id}": PLAN_WORK,
    "PATCH /api/v1/facts/{fact_id}": PLAN_WORK,
    "DELETE /api/v1/facts/{fact_id}": PLAN_WORK,
    "POST /api/v1/memory": SUBMIT,
    "POST /api/v1/memory/search": READ,
    "GET /api/v1/keys": ADMIN_READ,
    "POST /api/v1/keys": ADMIN,
    "POST /api/v1/keys/{name}/rotate": ADMIN,
    "DELETE /api/v1/keys/{name}": ADMIN,
    "GET /api/v1/audit": ADMIN_READ,
    "GET /api/v1/tenants": ADMIN_READ_ALL,
    "PUT /api/v1/tenants/{name}": ADMIN_ALL,
}

# What shows or changes the whole system is the platform's: it has no tenant in it, or all of them.
_PIPELINE = {
    "POST /decide": SUBMIT_ALL,
    "POST /decide-columns": REPORT,
    "POST /exchange": REPORT,
    "POST /route-and-execute": SUBMIT,
    "POST /anomaly-triage": OPERATE_ALL,
    "GET /triage": READ_ALL,
    "GET /triage/{triage_id}": READ_ALL,
    "GET /recipes": READ_ALL,
    "GET /metrics": READ_ALL,
    "GET /policy": READ_ALL,
    "POST /policy/reload": OPERATE_ALL,
    "GET /valve": READ_ALL,
    "POST /valve/{stream:path}/calibrate": OPERATE_ALL,
    "POST /valve/{stream:path}/release": replace(APPROVE, platform=True),
}

_ML = {
    "POST /xgboost/train": OPERATE_ALL,
    "POST /xgboost/train/submit": OPERATE_ALL,
    "GET /datasets": READ_ALL,
    "PUT /datasets/{file}": replace(OPERATE_ALL, upload=True),
    "DELETE /datasets/{file}": OPERATE_ALL,
    "POST /xgboost/predict": SUBMIT,
    "POST /xgboost/batch_predict": SUBMIT,
    "GET /xgboost/list_models": READ,
    "GET /xgboost/model_info": READ,
    "GET /xgboost/monitors": READ_ALL,
    "DELETE /xgboost/delete_model": OPERATE_ALL,
    "POST /xgboost/load_model": OPERATE_ALL,
    "POST /xgboost/refresh_model": OPERATE_ALL,
    "POST /outcomes": SUBMIT,
    "POST /xgboost/promote": OPERATE_ALL,
    "POST /xgboost/rollback": OPERATE_ALL,
    "GET /xgboost/promotions": READ_ALL,
    "GET /xgboost/promotions/{promotion_id}": READ_ALL,
    "POST /xgboost/tune": OPERATE_ALL,
    "POST /xgboost/tune/submit": OPERATE_ALL,
    "GET /xgboost/tune/status/{job_id}": READ,
    "GET /xgboost/tune/jobs": READ,
    "POST /drift/score": SUBMIT,
    "POST /score/salience": SUBMIT,
    "POST /score/salience/train": OPERATE_ALL,
    "POST /detect/anomaly": SUBMIT,
    "POST /detect/anomaly/batch": SUBMIT,
    "POST /predict/scaling": SUBMIT_ALL,
    "GET /v1/models": replace(READ, placeholder_keys=True),
    "GET /v1/models/{model:path}": replace(READ, placeholder_keys=True),
    "POST /v1/chat/completions": replace(SUBMIT, placeholder_keys=True),
    "POST /v1/embeddings": replace(SUBMIT, placeholder_keys=True),
}

_COGNITIVE = {
    "POST /plan-task": SUBMIT,
    "POST /reason-about-failure": SUBMIT_ALL,
    "POST /make-decision": SUBMIT,
    "POST /solve-problem": SUBMIT,
    "POST /synthesize-memory": SUBMIT,
    "POST /assess-capabilities": SUBMIT_ALL,
}

_STATE = {
    "POST /unified-state": READ_ALL,
    "GET /unified-state": READ_ALL,
    "GET /history": READ_ALL,
    "GET /stream": READ_ALL,
}

_ENERGY = {
    "POST /compute-energy": SUBMIT_ALL,
    "POST /gradient": SUBMIT_ALL,
    "POST /optimize-agents": SUBMIT_ALL,
    "POST /flywheel/result": OPERATE_ALL,
    "GET /ledger": READ_ALL,
    "GET /metrics": READ_ALL,
    "GET /change": READ_ALL,
}

_ORGANISM = {
    "POST /initialize": OPERATE_ALL,
    "POST /shutdown": OPERATE_ALL,
    "GET /status": READ_ALL,
    "PUT /workers": OPERATE_ALL,
    "GET /quarantine": READ_ALL,
    "POST /quarantine/{skill:path}/release": OPERATE_ALL,
    "GET /fleet": READ_ALL,
    "GET /agents": READ_ALL,
    "GET /organs": READ_ALL,
    "GET /organs/{organ_id}": READ_ALL,
    "PUT /organs/{organ_id}": OPERATE_ALL,
    "DELETE /organs/{organ_id}": OPERATE_ALL,
    "POST /resolve-route": READ_ALL,
    "POST /resolve-routes": READ_ALL,
    "POST /execute-on-organ": SUBMIT_ALL,
    "POST /evolve": OPERATE_ALL,
    "GET /evolve": READ_ALL,
    "POST /evolve/{evolution}/undo": OPERATE_ALL,
}

RULES: Mapping[str, Mapping[str, RouteRule]] = {
    service: _COMMON | routes
    for service, routes in {
        "gateway": _GATEWAY,
        "coordinator": _PIPELINE,
        "MLService": _ML,
        "CognitiveService": _COGNITIVE,
        "state": _STATE,
        "energy": _ENERGY,
        "organism": _ORGANISM,
    }.items()
}
"""The rules of each application by `METHOD template`."""
