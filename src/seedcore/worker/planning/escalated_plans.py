"""From the Cognitive service's move for an escalated task to what the worker does about it."""

from collections.abc import Mapping
from uuid import UUID

from pydantic import JsonValue

from seedcore.decision.stream_status import stream_name
from seedcore.tasks.model import GOAL, Lease
from seedcore.tasks.plans.moves import MoveNote
from seedcore.worker.decisions.route_decision import RouteDecision
from seedcore.worker.planning.move_json import EscalatedTask, MoveJson
from seedcore.worker.ports import PlanJson

ROUTINE = ("goal", "recipe")
"""Rules whose plans are no escalation."""

ASK_A_PERSON = "escalation"
"""The rule of tasks that a person decides about because every other move is expected to cost more."""

SAMPLE_FIRST = "sample_first"
"""The rule of tasks that wait for a first sample of their stream."""

REPLAN = {"*": "replan"}
"""When a step of a move fails, the next move is tried; the engine bounds how often."""

MAX_SHOWN = 4
"""Options and memories that a decision names."""


class PersonWantedError(Exception):
    """A person is to decide about the task: see `decision`."""

    def __init__(self, decision: RouteDecision) -> None:
        super().__init__(decision.reason)
        self.decision = decision


def is_escalated(lease: Lease, decision: RouteDecision) -> bool:
    """Whether the task could run without a plan, and is to be planned because its stream changed."""
    return lease.type != GOAL and decision.rule not in ROUTINE


def escalated_task(lease: Lease, decision: RouteDecision) -> EscalatedTask | None:
    """What the Cognitive service gets to know of an escalated task; None: it is none."""
    if not is_escalated(lease, decision):
        return None
    stream, rule = stream_name(lease.domain, lease.type), decision.rule[:200]
    return EscalatedTask(stream, rule, decision.reason[:2000], decision.evidence, lease.tenant, lease.id)


def move_decision(decision: RouteDecision, plan: PlanJson, move: MoveJson) -> RouteDecision:
    """The decision with the move, what it is expected to cost, and what it was learnt from."""
    record: dict[str, object] = {
        "move": move["move"],
        "expected_cost": move["expected_cost"],
        "options": move["options"][:MAX_SHOWN],
        "memories": [_id_of(item) for item in plan.get("evidence", ()) if _id_of(item) is not None][:MAX_SHOWN],
    }
    reason = f"{decision.reason}; {move['reason']}"
    if move["kind"] == "person":
        return RouteDecision("hold", ASK_A_PERSON, reason, evidence=decision.evidence, move=record)
    return decision._replace(reason=reason, move=record)


def note_of(lease: Lease, move: MoveJson) -> MoveNote:
    """What is kept of the move with its plan."""
    detail = {
        "incident": move["incident"],
        "direct_good": move["direct_good"],
        "direct_bad": move["direct_bad"],
        "expected_cost": move["expected_cost"],
    }
    after = move.get("sample_after")
    stream = stream_name(lease.domain, lease.type)
    return MoveNote(stream, move["move"], detail, move["sample"], None if after is None else UUID(after))


def _id_of(item: Mapping[str, JsonValue]) -> str | None:
    """The id of a memory that is cited."""
    return str(item["id"]) if item.get("kind") == "memory" and item.get("id") else None
