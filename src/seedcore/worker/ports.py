"""What a worker needs from the rest of the system: a lease store, decisions, plans, and hosts that run skills.

The real implementations are `lease_store.PostgresLeaseStore` and `actors.ray_adapters`; `tests/worker/twins` has one of
each in memory, which passes the same tests.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import NamedTuple, NotRequired, Protocol, TypedDict
from uuid import UUID

from pydantic import JsonValue

from seedcore.skills.host_protocol import Call, Completion
from seedcore.tasks.claims.claim_cursor import ClaimCursor
from seedcore.tasks.model import DEFAULT_TENANT, EarlierPlan, Lease, Outcome, PlanTerms, Retry, StepSpec, Usage
from seedcore.tasks.plans.moves import MoveNote
from seedcore.tasks.recovery.lost_leases import LastSession
from seedcore.tasks.sessions import Heartbeat
from seedcore.worker.decisions.report_collector import ReportCollector
from seedcore.worker.decisions.route_decision import RouteDecision
from seedcore.worker.planning.move_json import EscalatedTask, MoveJson

LeaseKey = tuple[UUID, int]
"""A task's id and the fencing token of one lease of it."""


class HostUnavailableError(Exception):
    """The host did not take the calls: none of them has begun."""


class HostLostError(Exception):
    """The host ended while calls were running: it is not known which of them took effect."""


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """A request for a plan: the goal, the inputs, the largest number of steps, skills not to use, and the skills of the
    earlier steps that completed, by the step's name; `escalation` for a task that could run without a plan; whose
    task it is for; what its plan may spend on language models, making the plan included."""

    goal: str | list[str]
    inputs: Mapping[str, JsonValue]
    max_steps: int | None = None
    without: Sequence[str] = ()
    done: Mapping[str, str] = field(default_factory=dict)
    escalation: EscalatedTask | None = None
    tenant: str = DEFAULT_TENANT
    task_id: UUID | None = None
    tokens: float | None = None
    money: float | None = None


class PlanUsageJson(TypedDict):
    """What a language model used to make a plan."""

    input_tokens: int
    output_tokens: int
    money: float


class PlanStepJson(TypedDict):
    """A step of a plan; a param is a literal or a reference `{"$from": "inputs" or a step's id, "field": name}`."""

    id: str
    skill: str
    params: dict[str, JsonValue]
    needs: NotRequired[list[str]]


class PlanJson(TypedDict):
    """A plan as it is stored; `output` says which field of which step gives each part of the goal. `move` and
    `evidence`: of an escalated task. `engine`, `model` and `fallback`: see `schemas.cognitive.engine_answer`."""

    steps: list[PlanStepJson]
    output: dict[str, JsonValue]
    move: NotRequired[MoveJson | None]
    evidence: NotRequired[list[dict[str, JsonValue]]]
    engine: NotRequired[str]
    model: NotRequired[str | None]
    fallback: NotRequired[dict[str, JsonValue] | None]
    usage: NotRequired[PlanUsageJson | None]


class Decider(Protocol):
    """Decides where tasks go, in this process: `decisions.local_decider.LocalDecider`."""

    @property
    def ready(self) -> bool:
        """Whether it knows anything to decide with; until then no task is claimed."""

    def decide(self, tasks: Sequence[Lease]) -> list[RouteDecision]:
        """One decision for each task, in order. What it sends to agents counts as sent from now on.

        Raises:
            UnavailableError: it knows nothing to decide with yet.
        """


class PlanService(Protocol):
    """Makes plans: the Cognitive service."""

    async def plan(self, request: PlanRequest) -> PlanJson:
        """A plan that reaches the goal.

        Raises:
            NoPlanError: there is none.
        """


class HostPool(Protocol):
    """Runs skills: the organism's hosts, by name."""

    def run(self, host: str, calls: Sequence[Call]) -> AsyncIterator[list[Completion]]:
        """Run `calls` on `host`, yielding completions as they happen.

        Raises:
            HostUnavailableError: nothing has begun.
            HostLostError: the host ended in between.
        """

    async def cancel(self, host: str, task_ids: Sequence[str]) -> None:
        """Cancel running calls; a host that has ended has none."""


class LocalHost(Protocol):
    """The host of the agents that live in this process."""

    @property
    def name(self) -> str:
        """The name of this worker, by which the routing table calls it."""

    def submit(self, calls: Sequence[Call], done: Callable[[list[Completion]], None]) -> None:
        """Run `calls` in the skills' loop; `done` takes completions in the caller's loop, as they happen."""

    def cancel_soon(self, task_ids: Sequence[str]) -> None:
        """Cancel running calls."""


class BegunNotes(Protocol):
    """Notes which calls have begun, in a file that outlives the process: `execution.begun_journal.BegunJournal`."""

    def note_session(self, session: UUID) -> None:
        """The notes speak of this session's leases."""

    def hold(self, tokens: Iterable[int]) -> None:
        """These leases were claimed: a call of one has begun until that is settled."""

    def settle(self, tokens: Set[int]) -> None:
        """These leases are gone: their ends are written, or they are lost."""

    def send(self, calls: Iterable[Call]) -> None:
        """These calls go to another process, and have begun as far as this one knows."""

    def unsend(self, tokens: Iterable[int]) -> None:
        """The calls of these leases did not begin there."""


class Cluster(Protocol):
    """The cluster that hosts and the Coordinator live on."""

    async def silence(self) -> str | None:
        """Why its control (Ray's GCS) does not answer; None when it does."""


class HeartbeatReport(NamedTuple):
    """What a dispatcher says of itself with a heartbeat.

    `holding` counts its leases and `claimed` says whether it got any since the last heartbeat. `started` are leases
    that run and whose `started` event is not written yet. `ends_written` says that the database knows of every attempt
    that ended: then a lease without a `started` event has not begun, and costs no attempt if the dispatcher is lost.
    `on_started` is called once the `started` events are written, whatever becomes of the heartbeat itself.
    """

    holding: int
    claimed: bool
    started: Sequence[LeaseKey]
    ends_written: bool
    on_started: Callable[[], None]


class LeaseEvents(NamedTuple):
    """What a dispatcher wants to hear from the lease store: a lane that has tasks, with a number that all who hear it
    share; a task that was cancelled; seconds until something is due; and that the store listens from now on (what was
    sent before is lost)."""

    ready: Callable[[str, int], None]
    cancelled: Callable[[UUID], None]
    due: Callable[[float], None]
    listening: Callable[[], Awaitable[None]]


class LeaseStore(Protocol):
    """The task engine as one dispatcher uses it. Every write names a fencing token: a lost lease changes nothing.

    Whatever cannot be written raises one of `stores.postgres.DATABASE_ERRORS`. A batch that is refused for what one of
    its items holds raises an error of which `stores.sqlstates.is_row_error` is true, and changes nothing.
    """

    async def open_session(
        self, session: UUID, name: str, queue: str, lease_s: float, actor: str, last: LastSession | None = None
    ) -> None:
        """Register a dispatcher for `lease_s` seconds; an earlier session of the same `actor` ends now.

        Its leases are taken back by `last`, which its process has left; None: nothing is known, the reaper judges them.
        """

    async def heartbeat(self, session: UUID, lease_s: float, report: Callable[[], HeartbeatReport]) -> Heartbeat:
        """Keep the session's leases for `lease_s` more seconds, after the `started` events of the report.

        `report` is called when the connection is in hand, so that it is as new as the heartbeat.
        """

    async def close_session(self, session: UUID) -> None:
        """End a session; what it still holds is returned at once."""

    async def claim(self, queue: str, session: UUID, limit: int, *, slow: bool, cursor: ClaimCursor) -> list[Lease]:
        """Lease up to `limit` tasks of a lane of `queue`: the highest priority first, then the oldest."""

    async def finish_and_claim(
        self, outcomes: Sequence[Outcome], queue: str, session: UUID, limit: int, *, slow: bool, cursor: ClaimCursor
    ) -> tuple[set[UUID], list[Lease]]:
        """`finish` and `claim` at once, for outcomes without a `follow_up`."""

    async def finish(self, outcomes: Sequence[Outcome]) -> set[UUID]:
        """End tasks; returns the ids that were accepted."""

    async def retry(self, retries: Sequence[Retry]) -> set[UUID]:
        """Let failed attempts run again after their delay; returns the ids that were accepted."""

    async def release(self, leases: Sequence[LeaseKey], *, slow: bool = False) -> set[UUID]:
        """Release leases; the attempt does not count. `slow` moves the tasks to the slow lane."""

    async def hold(self, lease: LeaseKey, decision: str, *, expires_s: float, on_expiry: str) -> bool:
        """Let a task wait for a person; False when the lease was lost."""

    async def started(self, leases: Sequence[LeaseKey]) -> None:
        """Write the `started` events of tasks."""

    async def bind(self, leases: Sequence[Lease]) -> list[tuple[str, str | None]]:
        """Params (JSON text) with the results of earlier steps filled in, in order, and the fields that are missing."""

    async def read_earlier_plan(
        self, task_id: UUID, signature: str
    ) -> tuple[EarlierPlan | None, Mapping[str, object] | None]:
        """The earlier plan of a task that is planned again, and the recipe for `signature`; None: there is none."""

    async def store_plan(
        self,
        lease: Lease,
        decision: str,
        plan: str,
        steps: Sequence[StepSpec],
        terms: PlanTerms,
        done: Sequence[UUID],
        facts: Sequence[UUID] = (),
        move: MoveNote | None = None,
        usage: Usage | None = None,
    ) -> bool:
        """Let a task wait for its plan's steps and store those, all or none; False when the lease was lost.

        `facts` are those that the plan relied on; `usage` is what making it used, which its budget pays.

        Raises:
            SampleFullError: the move is a first sample, which has no place left for it; the task has its lease still.
        """

    async def listen(self, events: LeaseEvents) -> None:
        """Report events until the connection ends."""

    async def wait_in_lane(self, lane: str, *, waits: bool) -> bool:
        """Say that this dispatcher waits for tasks of `lane`, or no longer; False when it cannot be woken."""


@dataclass(frozen=True, slots=True)
class WorkerPorts:
    """All that a dispatcher works with.

    Attributes:
        local: runs the calls of agents that live in this process; None: no agent does.
        cluster: None: there is none to look after.
        reports: what is reported to the Coordinator.
        begun: notes which calls have begun, for the process that comes next; None: it cannot be noted.
        peers: names of the dispatchers of this queue, in an order that all know; empty when they are not known.
    """

    leases: LeaseStore
    decider: Decider
    plans: PlanService
    hosts: HostPool
    local: LocalHost | None = None
    cluster: Cluster | None = None
    reports: ReportCollector = field(default_factory=ReportCollector)
    begun: BegunNotes | None = None
    peers: Callable[[], Sequence[str]] = tuple
