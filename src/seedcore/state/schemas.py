"""What goes over the wire to and from the State service."""

from pydantic import BaseModel, ConfigDict, Field


class StateRequest(BaseModel):
    """Which parts of the state."""

    model_config = ConfigDict(extra="forbid")

    agent_ids: list[str] | None = Field(None, max_length=100_000)
    organ_ids: list[str] | None = Field(None, max_length=10_000)
    include_agents: bool = True
    include_organs: bool = True
    include_system: bool = True
    include_memory: bool = True


class RateState(BaseModel):
    """What an agent has learned about one task type."""

    mean_s: float
    success: float
    outcomes: float = Field(description="effective number of outcomes behind it")


class AgentState(BaseModel):
    """One agent."""

    organ: str
    host: str
    running: int
    queued_s: float = Field(description="expected seconds of work in hand")
    completed: int
    failed: int
    rates: dict[str, RateState]
    age_s: float = Field(description="seconds since its host last wrote it")


class OrganState(BaseModel):
    """Sums over an organ's agents."""

    agents: int
    running: int
    queued_s: float
    completed: int
    failed: int


class SystemState(BaseModel):
    """The queue, as the database knows it."""

    queues: dict[str, dict[str, float | None]]
    running: int
    waiting: int
    approval: int
    dispatchers: int


class MemoryState(BaseModel):
    """What is remembered."""

    flashbulbs: int


class UnifiedState(BaseModel):
    """Everything at once. A part that was not asked for is absent; nothing is invented."""

    agents: dict[str, AgentState] | None = None
    organs: dict[str, OrganState] | None = None
    system: SystemState | None = None
    memory: MemoryState | None = None
    collected_ms: float = Field(description="time that it took to put this together")
