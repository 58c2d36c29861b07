"""Requests and answers of the State service."""

from datetime import datetime
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

Id = Annotated[str, StringConstraints(max_length=200)]


class StateRequest(BaseModel):
    """Which parts of the state, and how old they may be."""

    model_config = ConfigDict(extra="forbid")

    agent_ids: list[Id] | None = Field(None, max_length=100_000)
    organ_ids: list[Id] | None = Field(None, max_length=10_000)
    include_agents: bool = True
    include_organs: bool = True
    include_system: bool = True
    include_memory: bool = True
    include_vectors: bool = Field(False, description="agents with their probability of each role")
    max_age_s: float = Field(
        10.0,
        ge=0,
        le=86_400,
        allow_inf_nan=False,
        description="while the database is away, what is known is served up to this age, marked as stale; then 503",
    )


class RateState(BaseModel):
    """What an agent has learned about one task type."""

    mean_s: float
    success: float
    outcomes: float = Field(description="effective number of outcomes behind it")


class AgentState(BaseModel):
    """One agent."""

    organ: str
    host: str
    lifecycle: str = Field(description="`scout`, `employed` or `archived`")
    running: int
    queued_s: float = Field(description="expected seconds of work in hand")
    completed: int
    failed: int
    rates: dict[str, RateState]
    roles: dict[str, float] | None = Field(
        None, description="only with include_vectors, where its organ declares roles"
    )
    age_s: float = Field(description="seconds since its host last wrote it")


class OrganState(BaseModel):
    """Sums over an organ's agents."""

    agents: int
    running: int
    queued_s: float
    completed: int
    failed: int


class ClusterState(BaseModel):
    """Ray's living nodes, and their resources in total."""

    nodes: int
    cpus: float
    gpus: float


class SystemState(BaseModel):
    """The queue as the database knows it, and the cluster where this process is connected to one."""

    queues: dict[str, dict[str, float | None]]
    paused: list[str]
    running: int
    waiting: int
    approval: int
    dead: int = Field(description="tasks that failed for good, counted up to 10,000")
    dispatchers: int
    cluster: ClusterState | None = None


class WorkingMemoryState(BaseModel):
    """How full the working memory in Redis is; the caches of single processes are not known here."""

    kind: str
    entries: int
    bytes: int
    max_bytes: int


class MemoryState(BaseModel):
    """What is remembered. What is not known is left out, and `absent` says why."""

    memories: int | None = Field(None, description="items of long-term memory, counted up to 100,000")
    facts: int | None = Field(None, description="counted up to 100,000")
    flashbulbs: int | None = Field(None, description="incidents, where they are kept: in MySQL if it is set")
    flashbulbs_waiting: int | None = Field(None, description="with MySQL: incidents that wait for it in PostgreSQL")
    working: WorkingMemoryState | None = None
    absent: dict[str, str] | None = Field(None, description="why a part is not known, by its name")


class UnifiedState(BaseModel):
    """Everything at once. Parts that were not requested, and unknown values, are absent; nothing is invented."""

    agents: dict[str, AgentState] | None = None
    organs: dict[str, OrganState] | None = None
    system: SystemState | None = None
    memory: MemoryState | None = None
    ages: dict[str, float] = Field(description="seconds since each source was read: how old its part of the answer is")
    stale: dict[str, str] | None = Field(None, description="sources that cannot be read now, and why; absent when none")
    collected_ms: float = Field(description="time that it took to collect this")


class StreamRequest(BaseModel):
    """Which parts a stream covers."""

    model_config = ConfigDict(extra="forbid")

    include_agents: bool = True
    include_organs: bool = True
    include_system: bool = True


class HistoryRequest(BaseModel):
    """A stretch of the past."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    organ: Id | None = Field(None, description="one organ; the whole system when left out")
    since: AwareDatetime | None = Field(None, alias="from", description="an hour before `to` when left out")
    until: AwareDatetime | None = Field(None, alias="to", description="now when left out")
    step: float | None = Field(
        None, ge=1, le=30 * 86_400, allow_inf_nan=False, description="seconds of one point; at most 2,000 points"
    )


class StateHistory(BaseModel):
    """Columns of one length. Steps without a sample are left out."""

    organ: str | None = None
    step: float
    at: list[datetime] = Field(description="beginning of each step")
    columns: dict[str, list[float]] = Field(
        description="what is in hand as the mean of the step's samples, what is counted as the highest of them"
    )
