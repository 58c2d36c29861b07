"""Triage actions of a user's own, as SEEDCORE_TRIAGE_ACTIONS loads them."""

from typing import Any

from seedcore.coordinator.triage import Call, action


@action("acme.page")
async def page(call: Call) -> dict[str, Any]:
    return {"paged": call.policy.options["who"], "for": str(call.id), "stream": call.stream}


@action("acme.broken")
async def broken(_call: Call) -> dict[str, Any]:
    raise ZeroDivisionError("secret detail")
