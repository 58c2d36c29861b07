"""What workers and the Coordinator exchange: reports of what workers did, and the snapshot that they decide with.

A worker calls `POST /pipeline/exchange` with a `WorkerReport` and gets a `SnapshotUpdate`: what changed since the
version that it knows, or the whole when it missed one. The call waits up to `wait_s` for a change that matters at once
(routing table, policy, holds, a valve's state, V); rates, backlog and evidence go along with the next answer.
"""

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from seedcore.decision.routing_table import RoutingTable
from seedcore.pricing.learned_json import Learned, TypeMoneyJson, TypeRatesJson
from seedcore.schemas.coordinator import AgentCount, AgentOutcome, AgentSpent, EnergyReport, Report
from seedcore.schemas.stream_rows import StreamRows

SNAPSHOT_FORMAT = 1
"""Changes when a snapshot of another release cannot be read: such a one is ignored, and a whole one is requested."""

MAX_WAIT_S = 5.0
"""Longest time that an exchange may wait for a change."""


class WorkerReport(Report):
    """What a worker did since its last report that was heard.

    `number` counts the reports of one `session` (a start of the worker) from 1; a report that got no answer is sent
    again under its number, and counts once. `generation` and `version` are those of the snapshot that the worker
    decides with; 0 when it has none. `decided` counts decisions by `route:rule`, `rule_failures` policy rules that
    could not be evaluated. `plans` counts tasks that went to be planned, `plans_wanted` says how many more it may plan
    soon.
    """

    session: Annotated[str, Field(min_length=1, max_length=100)]
    number: Annotated[int, Field(ge=1)]
    generation: Annotated[int, Field(ge=0)] = 0
    version: Annotated[int, Field(ge=0)] = 0
    wait_s: Annotated[float, Field(ge=0, le=MAX_WAIT_S)] = 0.0
    decided: Annotated[dict[str, Annotated[int, Field(ge=0)]], Field(max_length=1_000)] = Field(default_factory=dict)
    rule_failures: Annotated[dict[str, Annotated[int, Field(ge=0)]], Field(max_length=1_000)] = Field(
        default_factory=dict
    )
    plans: Annotated[int, Field(ge=0)] = 0
    plans_wanted: Annotated[int, Field(ge=0)] = 0


class WorkerReportJson(TypedDict):
    """`WorkerReport` as a worker sends it."""

    asker: str
    session: str
    number: int
    generation: int
    version: int
    wait_s: float
    unplanned: int
    dropped: int
    outstanding: list[AgentCount]
    outcomes: list[AgentOutcome]
    spent: list[AgentSpent]
    energy: list[EnergyReport]
    streams: list[StreamRows]
    decided: dict[str, int]
    rule_failures: dict[str, int]
    plans: int
    plans_wanted: int


class PolicyJson(TypedDict):
    """A policy file: workers compile it themselves. `version` is the hash that names it."""

    source: str
    text: str
    version: str


class HoldJson(TypedDict):
    """A held stream: `until` is UTC time in seconds since 1970."""

    until: float
    reason: str
    wait_s: float | None


StreamStatusJson = tuple[str, float | None, float | None, float | None, bool]
"""The fields of `decision.stream_status.StreamStatus`, in order."""


class SnapshotParts(TypedDict, total=False):
    """The parts of a snapshot; a part that is missing has not changed.

    Attributes:
        routing: the routing table.
        rates, money: learned rates and money by task type; a whole snapshot has all types, an update those that changed
            otherwise than by `learned`.
        policy: the policy in force; None: there is none, and nothing may be decided.
        streams: the status of each monitored stream by its name; an update has those that changed.
        salience: the salience of each active stream by its name, while a rule of the policy asks for it; an update has
            those that changed, and null for one that is not active any more.
        holds: every held stream by its name.
        recipe_types: types for which a recipe of several steps is in force.
        v: V, in seconds².
        backlog: what each worker waits for, by its name: (agent, type, count); an update has those that changed, and an
            empty list for one that has gone.
    """

    routing: RoutingTable
    rates: dict[str, TypeRatesJson]
    money: dict[str, TypeMoneyJson]
    policy: PolicyJson | None
    streams: dict[str, StreamStatusJson]
    salience: dict[str, float | None]
    holds: dict[str, HoldJson]
    recipe_types: list[str]
    v: float
    backlog: dict[str, list[tuple[str, str, int]]]


class PlanShare(TypedDict):
    """The budget of plans: `spent` in the last minute by all plus what is lent to other workers, `lent` to this one."""

    spent: int
    lent: int


class SnapshotUpdate(TypedDict):
    """The answer to a report.

    Attributes:
        format: SNAPSHOT_FORMAT.
        generation: of the Coordinator that made it; a later one has a higher number. An answer of an earlier generation
            than the worker has heard from is ignored.
        version: of the snapshot after this update, counted within the generation.
        whole: whether `parts` is the whole snapshot; else it changes the version that the report named.
        heard: the number of the report that is heard; a worker drops what it reported up to there.
        parts: what changed.
        learned: outcomes that others reported since the version that the worker knows; empty in a whole snapshot. Of
            types that `parts` has whole there are none.
        plans: the worker's share of the budget of plans.
    """

    format: int
    generation: int
    version: int
    whole: bool
    heard: int
    parts: SnapshotParts
    learned: list[Learned]
    plans: PlanShare


class StoredSnapshotJson(TypedDict):
    """The whole snapshot as it is kept in PostgreSQL, for workers that start without a Coordinator."""

    format: int
    generation: int
    version: int
    parts: SnapshotParts
