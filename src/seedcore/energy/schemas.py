"""What goes over the wire to and from the Energy service."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=0, le=2**53)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
Name = Annotated[str, Field(max_length=200)]


class AgentLoad(BaseModel):
    """What energy looks at of one agent; State's agents fit."""

    model_config = ConfigDict(extra="ignore")

    queued_s: float = Field(ge=0, le=1e9, allow_inf_nan=False, description="at most 30 years: its square is summed")
    organ: Name = ""
    running: Count | None = None
    completed: Count = 0
    failed: Count = 0
    roles: dict[Name, Share] | None = Field(None, max_length=100, description="their sum is 1")


class WorkingMemoryUse(BaseModel):
    """How full the shared working memory is."""

    model_config = ConfigDict(extra="ignore")

    bytes: Count
    max_bytes: Annotated[int, Field(ge=1, le=2**53)]


class MemoryUse(BaseModel):
    """Memories, as State tells of them."""

    model_config = ConfigDict(extra="ignore")

    working: WorkingMemoryUse | None = None


class Pair(BaseModel):
    """Two agents that work on the same plans."""

    model_config = ConfigDict(extra="forbid")

    agents: tuple[Name, Name]
    steps: float = Field(ge=0, le=1e9, allow_inf_nan=False, description="steps of open plans that they share")
    success: Share = Field(description="share of the steps that they shared which succeeded")


class StateIn(BaseModel):
    """A unified state, as State gives it, and what else somebody knows of the fleet."""

    model_config = ConfigDict(extra="ignore")

    agents: dict[str, AgentLoad] = Field(max_length=1_000_000)
    memory: MemoryUse | None = None
    collaboration: list[Pair] | None = Field(None, max_length=100_000)
    drift: dict[Name, Share] | None = Field(None, max_length=10_000, description="the valve's evidence by stream")


class WeightsIn(BaseModel):
    """Weights of the terms, seconds² for one unit; those left out are the ones in force."""

    model_config = ConfigDict(extra="forbid")

    v: Weight | None = None
    collaboration: Weight | None = None
    roles: Weight | None = None
    memory: Weight | None = None
    drift: Weight | None = None


class ComputeEnergy(BaseModel):
    """Price a state: the one given, or the live one."""

    model_config = ConfigDict(extra="forbid")

    unified_state: StateIn | None = None
    include_breakdown: bool = True
    weights: WeightsIn | None = None


class ComputeGradient(BaseModel):
    """The gradient at a state: the one given, or the live one."""

    model_config = ConfigDict(extra="forbid")

    unified_state: StateIn | None = None
    weights: WeightsIn | None = None


class WeightsOut(BaseModel):
    """Weights of the terms, seconds² for one unit; `collaboration` multiplies `v`."""

    v: float
    collaboration: float
    roles: float
    memory: float
    drift: float


class EnergyOut(BaseModel):
    """The energy in seconds²; the terms sum to it."""

    energy: float
    breakdown: dict[str, float] | None = None
    absent: dict[str, str] = Field(
        description="terms whose facts nobody knows, and why; they are no part of the energy"
    )
    source: str = Field(description="`given` or `live`")
    agents: int
    v: float = Field(description="seconds² that one expected failure weighs")
    weights: WeightsOut


class GradientOut(BaseModel):
    """Slopes of the energy, seconds² for one unit of what is named."""

    queued_s: dict[str, float] = Field(description="by agent, for one second more of queued work")
    expected_failure: dict[str, float] | None = Field(None, description="by agent, for one failure more")
    roles: dict[str, dict[str, float]] | None = Field(None, description="by agent and role")
    shared: list[float] | None = Field(None, description="for each pair, for one shared step more")
    together: list[float] | None = Field(None, description="for each pair, for a success of 1 more")
    memory: dict[str, float] | None = Field(None, description="by store, for being full")
    drift: dict[str, float] | None = Field(None, description="by stream, for evidence of 1")
    energy: float
    absent: dict[str, str]
    source: str
    weights: WeightsOut
