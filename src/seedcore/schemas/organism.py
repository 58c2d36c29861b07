"""Requests and answers of the Organism service."""

from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, RootModel, model_validator

from seedcore.fleet.organ_spec import HostRange, OrganId, OrganSpec

MAX_WORKERS = 256
"""Most workers of a queue."""


class OrganTask(BaseModel):
    """A task for one agent of an organ, past the queue."""

    model_config = ConfigDict(extra="forbid")

    type: str = Field(min_length=1, max_length=200)
    params: dict[str, object] = Field(default_factory=dict)
    id: str | None = Field(None, description="a task id to show in logs; generated when not given")
    idempotency_key: str | None = Field(None, max_length=500)


class ExecuteOnOrgan(BaseModel):
    """Run one task on an organ now."""

    model_config = ConfigDict(extra="forbid")

    organ_id: str = Field(min_length=1, max_length=63)
    task: OrganTask
    organ_timeout_s: float = Field(30.0, gt=0, le=3600)


class ExecuteResult(BaseModel):
    """The result of the task."""

    organ_id: str
    agent: str
    host: str
    task_id: str
    result: object
    seconds: float


class ResolveRoute(BaseModel):
    """Which organ runs this type, or serves this domain; a known type wins over a domain."""

    model_config = ConfigDict(extra="forbid")

    type: str | None = Field(None, min_length=1, max_length=200)
    domain: str | None = Field(None, min_length=1, max_length=200)

    @model_validator(mode="after")
    def _type_or_domain(self) -> Self:
        if self.type is None and self.domain is None:
            raise ValueError("give a type, a domain or both")
        return self


class Route(BaseModel):
    """An organ, and what it was found by."""

    organ_id: str
    resolved_from: Literal["type", "domain"]
    epoch: int


class ResolveRoutes(BaseModel):
    """Many requests at once; each gets its own answer."""

    model_config = ConfigDict(extra="forbid")

    items: list[dict[str, object]] = Field(max_length=10_000, description="of each what `/resolve-route` takes")


class RouteAnswer(BaseModel):
    """The answer to one of many requests: an organ, or why there is none."""

    organ_id: str | None = None
    resolved_from: Literal["type", "domain"] | None = None
    error: dict[str, str] | None = Field(None, description="code and detail, as a problem document has them")


class Routes(BaseModel):
    """One answer for each request, in order; all of one epoch."""

    items: list[RouteAnswer]
    epoch: int


class FleetRequest(BaseModel):
    """A request for the routing table."""

    model_config = ConfigDict(extra="forbid")

    epoch: int | None = Field(
        None, description="of the table that the caller has; the answer is short when it is still valid"
    )


class HostStatus(BaseModel):
    """One host: whether it is alive, or why not."""

    name: str
    organ: str = Field(description="whose agents it has; in the list of workers, the queue that it serves")
    alive: bool
    reason: str | None = None
    node: str | None = Field(None, description="the Ray node that it runs on")
    draining: str | None = Field(None, description="why it gets no more tasks and will be stopped")
    outdated: bool = Field(description="created with other code, skills, resources or limits than a new one would be")
    running: int | None = Field(None, description="tasks in hand; absent where only another replica knows")


class OrganStatus(BaseModel):
    """One organ: desired and observed state."""

    version: int
    desired_agents: int
    living_agents: int
    desired_hosts: HostRange | None = Field(description="null: it has none of its own, its agents live in workers")
    living_hosts: int = Field(description="its own, or the workers that its agents live in")
    skills: list[str]
    hosts: list[HostStatus] = Field(description="its own; of an organ without any, the workers")


class WorkerNumbers(BaseModel):
    """How many workers there are to be."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    default: int = Field(ge=0, le=MAX_WORKERS, description="workers on the queue `default`")
    graph: int = Field(ge=0, le=MAX_WORKERS, description="workers on the queue `graph`")
    per_node: int | None = Field(
        None,
        ge=1,
        le=64,
        description=f"workers on the queue `default` for each living node, instead of `default`; {MAX_WORKERS} at most",
    )


class WorkerPoolStatus(BaseModel):
    """The workers of a queue."""

    desired: int
    alive: int = Field(description="that claim tasks")
    names: list[str] = Field(description="of those that claim tasks")
    workers: list[HostStatus] = Field(description="all, with those that start, drain or give no answer")


class WorkersStatus(BaseModel):
    """All workers, by queue."""

    default: WorkerPoolStatus
    graph: WorkerPoolStatus


class QuarantineItem(BaseModel):
    """A skill that has ended processes again and again: it runs in a host of its own, one task at a time."""

    skill: str
    since: datetime
    until: datetime = Field(description="when that ends by itself")
    deaths: int = Field(description="processes that ended while it was running")
    reason: str
    host: str | None = Field(None, description="that it runs in; absent while there is none that takes tasks")


class Quarantine(BaseModel):
    """The quarantined skills, by name."""

    items: list[QuarantineItem]


class OrganismStatus(BaseModel):
    """The whole organism."""

    organism_initialized: bool
    stopped: bool
    leads: bool = Field(description="whether the replica that answers is the leader")
    epoch: int
    organs: dict[str, OrganStatus]
    workers: WorkersStatus
    quarantined: list[QuarantineItem]
    missing_organs: list[str] = Field(description="organs that skills name and that do not exist")


class OrganModel(BaseModel):
    """The desired state of an organ; `version` is the one that If-Match names."""

    id: str
    version: int
    from_file: bool = Field(description="whether it came from the organs file, which replaces it when it changes there")
    spec: OrganSpec
    skills: list[str] = Field(description="all that run here, including those that name the organ themselves")


class Split(BaseModel):
    """Some skills of an organ, and some of its agents, become a new organ."""

    model_config = ConfigDict(extra="forbid")

    operation: Literal["split"]
    organ_id: OrganId
    into: OrganId
    skills: list[str] = Field(min_length=1, max_length=10_000)
    agents: int | None = Field(
        None, ge=1, le=100_000, description="agents that move along; half of them when not given"
    )
    hosts: HostRange | None = Field(
        None, description="of the new organ, if the old one has hosts of its own; as many as that one when not given"
    )
    wait_s: float = Field(20.0, ge=0, le=50, description="longest wait until it has taken effect and was measured")


class Merge(BaseModel):
    """An organ's skills, domains and agents move to another, and it is removed."""

    model_config = ConfigDict(extra="forbid")

    operation: Literal["merge"]
    organ_id: OrganId
    into: OrganId
    wait_s: float = Field(20.0, ge=0, le=50, description="longest wait until it has taken effect and was measured")


class Clone(BaseModel):
    """New agents that start with what another has learned."""

    model_config = ConfigDict(extra="forbid")

    operation: Literal["clone"]
    agent: str = Field(min_length=1, max_length=200)
    count: int = Field(1, ge=1, le=1000)
    wait_s: float = Field(20.0, ge=0, le=50, description="longest wait until it has taken effect and was measured")


class Retire(BaseModel):
    """Agents that get no more work; what they have learned is kept."""

    model_config = ConfigDict(extra="forbid")

    operation: Literal["retire"]
    agents: list[str] = Field(min_length=1, max_length=10_000)
    wait_s: float = Field(20.0, ge=0, le=50, description="longest wait until it has taken effect and was measured")


Evolution = Split | Merge | Clone | Retire


class EvolveRequest(RootModel[Annotated[Evolution, Field(discriminator="operation")]]):
    """One evolution."""


class EnergyMeasured(BaseModel):
    """Energy of some agents, from the work that their hosts reported."""

    energy: float = Field(description="seconds²")
    breakdown: dict[str, float]
    agents: int = Field(description="agents that a living host has reported; the others have nothing in hand")
    measured_at: datetime


class EvolutionRecord(BaseModel):
    """An evolution: the request, its measured energy, and whether it was undone."""

    id: UUID
    request: dict[str, object]
    organs: dict[str, int] = Field(description="version of each organ right after it")
    energy_before: EnergyMeasured
    energy_after: EnergyMeasured | None = Field(None, description="absent until it has taken effect and was measured")
    created_at: datetime
    undone_at: datetime | None = None


class Evolutions(BaseModel):
    """The last evolutions, newest first."""

    items: list[EvolutionRecord]
