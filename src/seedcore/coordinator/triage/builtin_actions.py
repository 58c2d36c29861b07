"""The built-in actions of a triage."""

from seedcore.coordinator.triage.actions import ActionCall, action
from seedcore.coordinator.triage.retrainings import add_retraining, lock_retrainings, retrained
from seedcore.errors import ConflictError, InvalidInputError

Json = dict[str, object]


@action("hold")
async def hold(call: ActionCall) -> Json:
    """Hold the stream: its new tasks wait for a person, for as long as the policy says."""
    reason = f"held by triage {call.id}"
    held = await call.tools.holds.put(_stream(call), call.policy.hold_s, reason, call.policy.wait_s, call.id)
    return held.report()


@action("recalibrate")
async def recalibrate(call: ActionCall) -> Json:
    """Calibrate the stream's valve on its newest observations."""
    return await call.tools.maintenance.calibrate(_stream(call), None, 0)


@action("submit")
async def submit(call: ActionCall) -> Json:
    """Submit the task that the request or the policy names; the same triage never submits a second one."""
    task = call.policy.task if call.task is None else call.task
    if task is None:
        raise InvalidInputError.for_field("task", "neither the request nor the policy names a task to submit.")
    fields = {**task, "idempotency_key": f"triage-{call.id}"}
    async with call.tools.database.connection() as connection:
        _, submitted = await call.tools.submission.one(connection, fields)
    return {"task_id": str(submitted.id), "type": fields["type"]}


@action("notify")
async def notify(call: ActionCall) -> Json:
    """Post to the webhook that the request or the policy names, or to the only one."""
    parts = {name: call.record[name] for name in ("decision", "reasons", "findings") if name in call.record}
    body = {"id": str(call.id), "stream": call.stream, **parts}
    return await call.tools.webhooks.post(call.webhook or call.policy.webhook, body)


@action("retrain")
async def retrain(call: ActionCall) -> Json:
    """Submit the task that trains a candidate on the newest labelled rows, within the policy's interval and budget."""
    if call.model is None:
        raise InvalidInputError.for_field("model", "this action needs a model, and the request names none.")
    name, policy = str(call.model["name"]), call.policy
    params: Json = {"name": name, "cause": call.model["monitor"], "rows": policy.rows, "triage_id": str(call.id)}
    if call.model.get("since") is not None:
        params["since"] = call.model["since"]
    if policy.params:
        params["params"] = policy.params
    limit = {"key": "ml-jobs", "max_running": call.tools.model_jobs}
    fields: Json = {"type": "ml.retrain", "params": params, "idempotency_key": f"triage-{call.id}", "limit": limit}
    async with call.tools.database.transaction() as connection:
        # Triages of several replicas decide at the same time; here one sees what the other began.
        await lock_retrainings(connection)
        before = await retrained(connection, name)
        if (wait_s := before.wait_s(policy.every_s)) > 0:
            raise ConflictError(f"Model {name!r} was retrained {before.ago_s:.0f} s ago; the next in {wait_s:.0f} s.")
        if before.today >= policy.per_day:
            raise ConflictError(f"{before.today} retrainings began within 24 hours, as many as the policy allows.")
        _, submitted = await call.tools.submission.one(connection, fields)
        await add_retraining(connection, call.id, name, submitted.id)
    return {"task_id": str(submitted.id), "type": "ml.retrain", "model": name, "every_s": policy.every_s}


def _stream(call: ActionCall) -> str:
    if call.stream is None:
        raise InvalidInputError.for_field("stream", "this action needs a stream, and the request names none.")
    return call.stream
