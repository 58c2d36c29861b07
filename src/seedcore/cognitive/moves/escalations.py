"""Answers what to do about escalated tasks, and keeps what was learnt in long-term memory."""

import hashlib
from collections.abc import Mapping, Sequence

from pydantic import TypeAdapter

from seedcore.cognitive.moves.changed_work import ChangedWork
from seedcore.cognitive.moves.choose_move import (
    MoveChoice,
    MoveKnowledge,
    PricedMove,
    RememberedMove,
    choose_move,
)
from seedcore.cognitive.moves.move_memory import MoveMemory
from seedcore.cognitive.moves.possible_moves import EscalationMove, possible_moves
from seedcore.errors import InvalidInputError
from seedcore.memory.working.working_memory import WorkingMemory
from seedcore.schemas.cognitive.engine_answer import EvidenceOut
from seedcore.schemas.cognitive.moves import EscalationMoveOut, MoveOptionOut
from seedcore.schemas.cognitive.planning import EscalationIn, PlanStep, PlanTaskRequest, PlanTaskResponse
from seedcore.settings import Settings
from seedcore.skills.signatures import Signature
from seedcore.stores.leading.leader_loop import LeaderJob
from seedcore.stores.postgres import Database
from seedcore.tasks.model import DEFAULT_TENANT
from seedcore.tasks.plans import moves as stored_moves
from seedcore.tasks.plans.moves import StreamHistory
from seedcore.tasks.plans.plan import validate_plan

HISTORY_S, RECALL_S = 0.1, 5.0
"""For how long what was read of a stream, and of memory, is used again."""

AGAIN_S, AGAIN_SOON_S, FEW_RUNS = 5.0, 0.05, 10
"""For how long a stream's tasks run as they are before it is asked again; sooner until so many ran since the change."""

REMEMBER_S, MAX_FRESH = 2.0, 500

_HISTORY = TypeAdapter(StreamHistory)
_RECALLED = TypeAdapter(list[RememberedMove])


class Escalations:
    """Chooses moves for escalated tasks.

    Args:
        settings: which moves are allowed, and how large a sample is.
        database: what was learnt of streams.
        memory: what was learnt of like incidents; None: there is none.
        working: keeps for a moment what was read.
    """

    def __init__(
        self, settings: Settings, database: Database, memory: MoveMemory | None, working: WorkingMemory
    ) -> None:
        self._settings, self._database, self._memory, self._working = settings, database, memory, working
        self.counts: dict[str, int] = {}

    async def plan(self, request: PlanTaskRequest, skills: Mapping[str, Signature]) -> PlanTaskResponse | None:
        """The move for the request's task, as a plan. None: no move applies, the task is planned like any other.

        Raises:
            UnavailableError: the database does not answer.
        """
        escalation, goal = request.escalation, request.goal
        if escalation is None or not isinstance(goal, str) or goal not in skills:
            return None
        inputs = request.inputs
        moves = self._valid(possible_moves(skills[goal], inputs, skills, request.without), request, skills)
        if not request.without and all(move.kind == "person" for move in moves):
            return None  # its params fit no plan: the search says why
        history = await self._history(escalation)
        incident = ChangedWork.of(goal, escalation.stream, inputs, history.direct)
        remembered = await self._recall(incident.text, goal, escalation.tenant or DEFAULT_TENANT)
        known = MoveKnowledge(
            history.moves,
            history.direct,
            remembered,
            history.sample,
            history.waiting,
            self._settings.escalation_sample,
        )
        tried = await self._tried(escalation)
        choice = choose_move(moves, known, tried=tried, allowed=self._settings.escalation_kinds)
        self.counts[choice.chosen.move.kind] = self.counts.get(choice.chosen.move.kind, 0) + 1
        return _answer(choice, incident)

    def _valid(
        self, moves: Sequence[EscalationMove], request: PlanTaskRequest, skills: Mapping[str, Signature]
    ) -> list[EscalationMove]:
        """Those whose plan the validator of all plans accepts."""
        limit = min(request.max_steps or self._settings.max_plan_steps, self._settings.max_plan_steps)
        valid = []
        for move in moves:
            if move.plan is not None:
                try:
                    validate_plan(move.plan, skills, max_steps=limit)
                except InvalidInputError:
                    continue
            valid.append(move)
        return valid

    async def _history(self, escalation: EscalationIn) -> StreamHistory:
        async def read() -> object:
            async with self._database.connection() as connection:
                found = await stored_moves.read_stream(connection, escalation.stream, escalation.rule)
            return _HISTORY.dump_python(found, mode="json")

        key = _key(escalation.stream, escalation.rule)
        return _HISTORY.validate_python(await self._working.get_or_make("moves", key, read, HISTORY_S))

    async def _recall(self, incident: str, type_: str, tenant: str) -> list[RememberedMove]:
        memory = self._memory
        if memory is None:
            return []

        async def read() -> object:
            return _RECALLED.dump_python(await memory.recall(incident, type_, tenant), mode="json")

        key = _key(tenant, incident)
        return _RECALLED.validate_python(await self._working.get_or_make("moves_recalled", key, read, RECALL_S))

    async def _tried(self, escalation: EscalationIn) -> list[str]:
        if escalation.task_id is None:
            return []
        async with self._database.connection() as connection:
            return await stored_moves.tried(connection, escalation.task_id)

    def jobs(self) -> list[LeaderJob]:
        """What the leader among the replicas does: remember how moves ended."""
        return [] if self._memory is None else [LeaderJob("moves", REMEMBER_S, self.remember)]

    async def remember(self) -> None:
        """Let memory know of moves that ended since the last time; done twice, it changes nothing."""
        assert self._memory is not None
        while True:
            async with self._database.connection() as connection:
                settled, keys = await stored_moves.settled(connection, MAX_FRESH)
            if not keys:
                return
            for start in range(0, len(settled), 100):
                await self._memory.remember(settled[start : start + 100])
            async with self._database.connection() as connection:
                await stored_moves.mark_remembered(connection, keys)

    def health(self) -> dict[str, object]:
        """How often each kind of move was chosen here, and why memory does not answer."""
        report: dict[str, object] = {"chosen": dict(self.counts)}
        if self._memory is not None and self._memory.failing is not None:
            report["failing"] = self._memory.failing
        return report


def _key(*parts: str) -> str:
    """A short key of texts of any length."""
    return hashlib.sha256("\0".join(parts).encode(errors="surrogatepass")).hexdigest()


def _answer(choice: MoveChoice, incident: ChangedWork) -> PlanTaskResponse:
    chosen, known = choice.chosen, choice.knowledge
    move, plan = chosen.move, chosen.move.plan
    changed = [end.ok for end in known.direct if end.changed]
    shown = EscalationMoveOut(
        move=move.name,
        kind=move.kind,
        reason=choice.reason,
        expected_cost=round(chosen.expected_cost, 3),
        options=[_option(option) for option in choice.options],
        incident=incident.text,
        direct_good=sum(changed),
        direct_bad=len(changed) - sum(changed),
        sample=known.sample_size if move.kind == "sample" else None,
        sample_after=None if known.sample is None or known.sample.status == "open" else known.sample.id,
        again_s=0.0 if move.kind != "as_is" else AGAIN_S if len(changed) >= FEW_RUNS else AGAIN_SOON_S,
    )
    steps = () if plan is None else plan.steps
    return PlanTaskResponse(
        steps=[PlanStep(id=s.id, skill=s.skill, params=s.params, needs=list(s.needs)) for s in steps],
        output={} if plan is None else plan.output,
        cost=chosen.expected_cost,
        explored=len(choice.options),
        method="move",
        move=shown,
        evidence=_evidence(choice),
    )


def _option(priced: PricedMove) -> MoveOptionOut:
    return MoveOptionOut(
        move=priced.move.name,
        expected_cost=round(priced.expected_cost, 3),
        chance=round(priced.chance, 4),
        helped=priced.helped,
        ends=priced.ends,
    )


def _evidence(choice: MoveChoice) -> list[EvidenceOut]:
    """The counts and the memories that the choice rests on."""
    chosen, known = choice.chosen, choice.knowledge
    counts = {"helped": chosen.helped, "ends": chosen.ends, "direct": len(known.direct), "waiting": known.waiting}
    found = [EvidenceOut(kind="statistic", id=None, text=choice.reason, score=None, numbers=dict(counts))]
    cited = {memory for option in choice.options for memory in option.memories}
    found += [
        EvidenceOut(kind="memory", id=memory.id, text=memory.text, score=round(memory.likeness, 4))
        for memory in known.remembered
        if memory.id in cited
    ]
    return found
