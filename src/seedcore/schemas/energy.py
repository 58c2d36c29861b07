"""What goes over the wire to and from the Energy service."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Count = Annotated[int, Field(ge=0, le=2**53)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
Name = Annotated[str, Field(max_length=200)]


class AgentLoad(BaseModel):
    """What the energy takes of one agent; State's agents can be passed as they are."""

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


class StateMemory(BaseModel):
    """Memories, as State reports them."""

    model_config = ConfigDict(extra="ignore")

    working: WorkingMemoryUse | None = None
    absent: dict[Name, str] | None = Field(None, max_length=100, description="why a part is not known")


class Pair(BaseModel):
    """Two agents that work on the same plans."""

    model_config = ConfigDict(extra="forbid")

    agents: tuple[Name, Name]
    steps: float = Field(ge=0, le=1e9, allow_inf_nan=False, description="steps of open plans that they share")
    success: Share = Field(description="share of the steps that they shared which succeeded")


class StateIn(BaseModel):
    """A unified state, as State gives it, and further facts of the fleet."""

    model_config = ConfigDict(extra="ignore")

    agents: dict[str, AgentLoad] = Field(max_length=1_000_000)
    memory: StateMemory | None = None
    collaboration: list[Pair] | None = Field(None, max_length=100_000)
    drift: dict[Name, Share] | None = Field(None, max_length=10_000, description="the valve's evidence by stream")
    traffic: dict[Name, Share] | None = Field(
        None, max_length=10_000, description="share of the tasks by stream of `drift`; left out: each counts as 1"
    )


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
    v_source: str = Field(description="`request`, `setting`, `flywheel`, or the last known value without the database")


class EnergyOut(BaseModel):
    """The energy in seconds²; the terms sum to it."""

    energy: float
    breakdown: dict[str, float] | None = None
    absent: dict[str, str] = Field(description="terms without inputs, and why; they are not part of the energy")
    source: str = Field(description="`given` or `live`")
    agents: int
    v: float = Field(description="seconds² that one expected failure weighs")
    weights: WeightsOut


class GradientOut(BaseModel):
    """Slopes of the energy, in seconds² per unit of each input."""

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


class OptimizeAgents(BaseModel):
    """Look for moves that lower the energy of a state: the one given, or the live one."""

    model_config = ConfigDict(extra="forbid")

    unified_state: StateIn | None = None
    organ: Name | None = None
    max_moves: int = Field(100, ge=0, le=1000)


class MoveOut(BaseModel):
    """A waiting task that would lower the energy at another agent."""

    organ: str
    source: str
    target: str
    seconds: float
    delta_energy: float


class OrganBalance(BaseModel):
    """An organ's load energy (seconds²) as it is, after the moves, and what one more agent would change it by."""

    agents: int
    energy: float
    balanced: float
    one_more_agent: float


class OptimizeOut(BaseModel):
    """Proposals: nothing is moved. What waits at a host comes back to the queue by its lease alone."""

    moves: list[MoveOut]
    organs: dict[str, OrganBalance]
    delta_energy: float = Field(description="of all moves together, seconds²")
    source: str


class LedgerRequest(BaseModel):
    """A page of the ledger, the newest entries first."""

    model_config = ConfigDict(extra="forbid")

    scope: Annotated[str, Field(max_length=500)] | None = Field(None, description="`organ/type`; all when left out")
    before: int | None = Field(None, ge=1, le=2**62, description="`next` of the previous page")
    limit: int = Field(100, ge=1, le=1000)


class LedgerOut(BaseModel):
    """Entries: sums over outcomes; `expected_*` from the decisions, `realised_*` from the outcomes, `tokens` and
    `money` as skills said that they spent them."""

    items: list[dict[str, object]]
    next: int | None = Field(None, description="`before` of the next page; null: this is the last")


class MetricsRequest(BaseModel):
    """How far back to look."""

    model_config = ConfigDict(extra="forbid")

    window_s: float = Field(3600, gt=0, le=30 * 86_400, allow_inf_nan=False)


class MetricsOut(BaseModel):
    """Expected against realised over the window, by scope and in all (null: nothing ended in it); and the weights."""

    window_s: float
    overall: dict[str, object] | None
    scopes: dict[str, dict[str, object]]
    weights: WeightsOut
    changes: Sequence[Mapping[str, object]] = Field(description="the flywheel's last turns, the newest first")
    flywheel: Mapping[str, object] = Field(description="seconds between turns by itself (0: none), and why they fail")


class FlywheelRequest(BaseModel):
    """One turn: from given outcomes, or those that the ledger got since the last turn; or undo a turn."""

    model_config = ConfigDict(extra="forbid")

    outcomes: int | None = Field(None, ge=0, le=2**53)
    failures: int | None = Field(None, ge=0, le=2**53)
    undo: int | None = Field(None, ge=1, le=2**62, description="id of a turn: V becomes what it was before it")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.outcomes is None) != (self.failures is None):
            raise ValueError("outcomes and failures come together")
        if self.outcomes is not None and self.failures is not None and self.failures > self.outcomes:
            raise ValueError("there are more failures than outcomes")
        if self.undo is not None and self.outcomes is not None:
            raise ValueError("a turn is undone without outcomes")
        return self


class FlywheelOut(BaseModel):
    """What the turn did; `id` is null when V stayed as it was."""

    id: int | None
    v: float
    before: float
    reason: str
    source: str = Field(description="`given`, `ledger` or `undo`")
    lowest: float
    highest: float
