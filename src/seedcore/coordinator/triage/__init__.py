"""Triage of anomalies: look, reason, decide, act; every step is recorded.

An action of one's own, loaded by SEEDCORE_TRIAGE_ACTIONS=acme.actions and allowed by the policy:

    from seedcore.coordinator.triage import Call, action

    @action("acme.page")
    async def page(call: Call) -> dict[str, Any]:
        ...
"""

from seedcore.coordinator.triage.actions import Call, action

__all__ = ["Call", "action"]
