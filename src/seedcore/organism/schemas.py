"""What goes over the wire to and from the Organism."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class OrganTask(BaseModel):
    """A task for one agent of an organ, past the queue."""

    model_config = ConfigDict(extra="forbid")

    type: str = Field(min_length=1, max_length=200)
    params: dict[str, Any] = Field(default_factory=dict)
    id: str | None = Field(None, description="a task id to show in logs; made when not given")
    idempotency_key: str | None = Field(None, max_length=500)


class ExecuteOnOrgan(BaseModel):
    """Run one task on an organ now."""

    model_config = ConfigDict(extra="forbid")

    organ_id: str = Field(min_length=1, max_length=63)
    task: OrganTask
    organ_timeout_s: float = Field(30.0, gt=0, le=3600)


class ExecuteResult(BaseModel):
    """What the agent gave back."""

    organ_id: str
    agent: str
    host: str
    task_id: str
    result: Any
    seconds: float


class ResolveRoute(BaseModel):
    """Which organ runs this type."""

    model_config = ConfigDict(extra="forbid")

    type: str = Field(min_length=1, max_length=200)


class FleetRequest(BaseModel):
    """Who asks, with the epoch of the table that it has."""

    model_config = ConfigDict(extra="forbid")

    epoch: int | None = Field(
        None, description="of the table that the asker has; the answer is short when it still holds"
    )


class HostStatus(BaseModel):
    """One host: whether its last ping was answered."""

    name: str
    organ: str
    alive: bool
    reason: str | None = None


class OrganStatus(BaseModel):
    """One organ: what is desired and what is there."""

    desired_agents: int
    living_agents: int
    hosts: list[HostStatus]


class OrganismStatus(BaseModel):
    """The whole organism."""

    organism_initialized: bool
    epoch: int
    organs: dict[str, OrganStatus]
    missing_organs: list[str] = Field(description="organs that skills name and the organs file lacks")
