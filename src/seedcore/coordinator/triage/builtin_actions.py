"""The built-in actions of a triage."""

from typing import Any

from seedcore.coordinator.triage.actions import Call, action
from seedcore.errors import InvalidInputError


@action("hold")
async def hold(call: Call) -> dict[str, Any]:
    """New tasks of the stream wait for a person, for as long as the policy says."""
    reason = f"held by triage {call.id}"
    held = await call.tools.holds.put(_stream(call), call.policy.hold_s, reason, call.policy.wait_s, call.id)
    return held.report()


@action("recalibrate")
async def recalibrate(call: Call) -> dict[str, Any]:
    """The stream's valve learns what is normal now."""
    return await call.tools.tending.calibrate(_stream(call), None, 0)


@action("submit")
async def submit(call: Call) -> dict[str, Any]:
    """Submit the task that the request or the policy names; the same triage never submits a second one."""
    if call.task is not None:
        fields = dict(call.task)
    elif call.policy.task is not None:
        fields = call.policy.task.model_dump(exclude_unset=True)
    else:
        raise InvalidInputError("Neither the request nor the policy names a task to submit.")
    fields |= {"idempotency_key": f"triage-{call.id}"}
    async with call.tools.database.connection() as connection:
        _, submitted = await call.tools.submission.one(connection, fields)
    return {"task_id": str(submitted.id), "type": fields["type"]}


@action("notify")
async def notify(call: Call) -> dict[str, Any]:
    """Tell a webhook; which, the request or the policy names, or there is only one."""
    told = {name: call.told[name] for name in ("decision", "reasons", "findings") if name in call.told}
    body = {"id": str(call.id), "stream": call.stream, **told}
    return await call.tools.webhooks.post(call.webhook or call.policy.webhook, body)


def _stream(call: Call) -> str:
    if call.stream is None:
        raise InvalidInputError("This action needs a stream, and the request names none.")
    return call.stream
