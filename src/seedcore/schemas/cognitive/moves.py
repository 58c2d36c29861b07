"""The move in the answer of `POST /cognitive/plan-task` for escalated work."""

from typing import Literal
from uuid import UUID

from pydantic import BaseModel, Field

MoveName = Literal["as_is", "equivalent", "check_before", "check_after", "sample", "person"]


class MoveOptionOut(BaseModel):
    """A move that was considered: its expected cost in runs of the task's own skill, and what that was learnt from."""

    move: str = Field(description="`kind`, or `kind:skill`")
    expected_cost: float
    chance: float = Field(description="that it helps")
    helped: int = Field(description="plans of this stream that it helped, of `ends`")
    ends: int


class EscalationMoveOut(BaseModel):
    """What to do about an escalated task; the plan carries it out. A `person`'s has no steps."""

    move: str = Field(description="`kind`, or `kind:skill`")
    kind: MoveName
    reason: str
    expected_cost: float
    options: list[MoveOptionOut] = Field(description="all that were considered, the chosen one first")
    incident: str = Field(description="the incident in words, by which like ones are found in memory")
    direct_good: int = Field(0, description="runs of the skill as it is, since the work changed, that completed")
    direct_bad: int = Field(0, description="those that failed")
    sample: int | None = Field(None, description="how many tasks of the stream run before the others")
    sample_after: UUID | None = Field(
        None, description="the stream's last sample, if that had ended when this was chosen"
    )
    again_s: float = Field(0.0, description="for how long the answer holds for the stream's other tasks")
