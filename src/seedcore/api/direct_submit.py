"""Submits a single task without the framework: most requests of the gateway are just that."""

from fastapi.responses import Response

from seedcore.api.gateway import Gateway
from seedcore.api.headers import decoded_key
from seedcore.api.task_routes import submit_task
from seedcore.tasks.submission.task_request import TaskIn
from seedcore.web.access.caller import Caller
from seedcore.web.access.request_origin import TENANT_HEADER, origin_of
from seedcore.web.direct_routes import DirectHandler, Headers

_FIELDS = TaskIn.model_fields.keys()
_KEY, _TRACE, _TENANT = b"idempotency-key", b"traceparent", TENANT_HEADER.lower().encode()
_WANTED = frozenset((_KEY, _TRACE, _TENANT))


def direct_submit(gateway: Gateway) -> DirectHandler:
    """The handler of `POST /api/v1/tasks` for bodies with known fields only."""

    async def handle(body: dict[str, object], headers: Headers, caller: Caller) -> Response | None:
        given = [(name, value.decode("latin-1")) for name, value in headers if name in _WANTED]
        sent = dict(given)
        if len(sent) < len(given) or not body.keys() <= _FIELDS:
            return None
        try:
            key = decoded_key(sent.get(_KEY))
        except ValueError:
            return None
        traces = [sent[_TRACE]] if _TRACE in sent else []
        return await submit_task(body, gateway, caller, origin_of(caller, sent.get(_TENANT), traces), key)

    return handle
