"""What goes over the wire to and from the Energy service."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=0, le=2**53)]


class AgentLoad(BaseModel):
    """What energy looks at of one agent; State's agents fit."""

    model_config = ConfigDict(extra="ignore")

    queued_s: float = Field(ge=0, le=1e9, allow_inf_nan=False, description="at most 30 years: its square is summed")
    running: Count = 0
    completed: Count = 0
    failed: Count = 0


class StateIn(BaseModel):
    """A unified state, as State gives it."""

    model_config = ConfigDict(extra="ignore")

    agents: dict[str, AgentLoad] = Field(max_length=1_000_000)


class ComputeEnergy(BaseModel):
    """Price a state: the one given, or the live one."""

    model_config = ConfigDict(extra="forbid")

    unified_state: StateIn | None = None
    include_breakdown: bool = True


class EnergyOut(BaseModel):
    """The energy in seconds²; the terms sum to it."""

    energy: float
    breakdown: dict[str, float] | None = None
    source: str = Field(description="`given` or `live`")
    agents: int
    v: float = Field(description="seconds² that one expected failure weighs")
