"""Triage of anomalies: detect, reason, decide, act; every step is recorded.

A user's own action, loaded by SEEDCORE_TRIAGE_ACTIONS=acme.actions and allowed by the policy:

    from seedcore.coordinator.triage import Call, action

    @action("acme.page")
    async def page(call: Call) -> dict[str, object]:
        ...
"""

from seedcore.coordinator.triage.actions import ActionCall, action

Call = ActionCall

__all__ = ["Call", "action"]
