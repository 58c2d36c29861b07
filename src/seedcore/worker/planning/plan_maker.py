"""Makes plans for leased tasks: by a recipe, or by the Cognitive service."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import cast
from uuid import UUID

from pydantic import JsonValue

from seedcore.errors import InvalidInputError
from seedcore.settings import Settings
from seedcore.skills import jsontypes
from seedcore.skills.signatures import Signature, signatures
from seedcore.tasks.model import GOAL, EarlierPlan, Lease, PlanTerms, StepSpec, Usage
from seedcore.tasks.plans.moves import MoveNote
from seedcore.tasks.plans.plan import read_plan, validate_plan
from seedcore.tasks.plans.plan_options import bounds, read_goal
from seedcore.telemetry.logs import get_logger
from seedcore.worker.decisions.route_decision import RouteDecision
from seedcore.worker.planning.escalated_plans import (
    REPLAN,
    PersonWantedError,
    escalated_task,
    is_escalated,
    move_decision,
    note_of,
)
from seedcore.worker.planning.move_json import MoveJson
from seedcore.worker.planning.own_plans import OwnPlan, OwnPlans
from seedcore.worker.planning.plan_steps import planned_by, planning_usage, renamed, steps_of
from seedcore.worker.ports import LeaseStore, PlanJson, PlanRequest, PlanService
from seedcore.worker.skill_catalog import SkillCatalog

APPROVED = OwnPlan("a person approved it")


class OverBudgetError(Exception):
    """The plan's steps would be more than its budget allows."""


@dataclass(frozen=True, slots=True)
class StorablePlan:
    """A plan, ready to store: as JSON, as steps, with its terms.

    `done` are the tasks that it takes results from, `move` is what it tries for an escalated task, `usage` is what a
    language model used to make it.
    """

    plan: PlanJson
    steps: list[StepSpec]
    terms: PlanTerms
    decision: RouteDecision
    done: tuple[UUID, ...] = ()
    move: MoveNote | None = None
    usage: Usage | None = None


@dataclass(slots=True)
class PlanGoal:
    """What a task asks for."""

    goal: str | list[str]
    inputs: Mapping[str, JsonValue]
    policy: Mapping[str, str]
    budget: Mapping[str, float]


@dataclass(slots=True)
class _Skills:
    by_name: dict[str, Signature]
    platform: frozenset[str]
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        shown = sorted((s.name, sorted(_typed(s)), sorted(_shown(s.results))) for s in self.by_name.values())
        self.digest = hashlib.sha256(json.dumps(shown).encode()).hexdigest()


class PlanMaker:
    """Makes plans for leased tasks, and remembers which tasks are their own plan."""

    def __init__(self, settings: Settings, leases: LeaseStore, plans: PlanService, skills: SkillCatalog) -> None:
        self._settings, self._leases, self._plans, self._catalog = settings, leases, plans, skills
        self._skills: _Skills | None = None
        self._own_plans = OwnPlans()
        self._log = get_logger("seedcore.worker.plan_maker")

    def own_plan(self, lease: Lease, decision: RouteDecision) -> OwnPlan | None:
        """Why a task is its own plan, as others that look like it are; None: that is not known."""
        if lease.approved and is_escalated(lease, decision):
            return APPROVED
        if self._skills is None or not self._own_plans or lease.type == GOAL:
            return None
        try:
            return self._own_plans.find(_kind_of(lease, signature_of(self._goal(lease), self._skills.digest)))
        except (ValueError, TypeError, AttributeError, RecursionError):
            # What cannot be read is not known; `make` reports what is wrong with it, and no other task suffers.
            return None

    async def make(self, lease: Lease, decision: RouteDecision) -> StorablePlan | OwnPlan:
        """A valid plan: the recipe's when there is one, else one that the Cognitive service makes.

        A goal names what it wants and what it starts from. A task whose skill is known is planned for from its params;
        when it is its own plan, nothing is lost when it runs as it is.

        Raises:
            InvalidInputError: the task, or the plan, is not what it must be.
            OverBudgetError: the plan has more steps than the budget leaves.
            PersonWantedError: a person is to decide about the task.
        """
        skills = await self._known()
        if lease.type in skills.platform:
            return OwnPlan("no plan has steps with its skill")
        if lease.approved and is_escalated(lease, decision):
            return APPROVED
        goal = self._goal(lease)
        signature = signature_of(goal, skills.digest)
        before, recipe = await self._leases.read_earlier_plan(lease.id, signature)
        left = int(goal.budget["steps"]) - (before.steps if before else 0)
        if before is None and recipe is not None:
            made = self._by_recipe(cast(PlanJson, recipe), goal, signature, left, decision)
            if made is not None:
                return made
        if left < 1:
            raise OverBudgetError(f"its budget of {goal.budget['steps']:g} steps is used up")
        done = {step.name: step.skill for step in before.done} if before else {}
        without = before.without if before else ()
        escalation = escalated_task(lease, decision)
        most = min(left, self._settings.max_plan_steps)
        request = PlanRequest(
            goal.goal,
            goal.inputs,
            most,
            without,
            done,
            escalation,
            lease.tenant,
            lease.id,
            goal.budget.get("tokens"),
            goal.budget.get("money"),
        )
        plan = await self._plans.plan(request)
        move = plan.pop("move", None)
        kind = _kind_of(lease, signature)
        if move is not None and move["kind"] == "person":
            self._own_plans.forget(kind)
            raise PersonWantedError(move_decision(decision, plan, move))
        if before is None and [step["skill"] for step in plan["steps"]] == [lease.type] and not _samples(move):
            own = OwnPlan() if move is None else OwnPlan(move["reason"], move["again_s"])
            self._own_plans.put(kind, own)
            return own
        if len(plan["steps"]) > left:
            raise OverBudgetError(f"the plan has {len(plan['steps'])} steps, and its budget has {left} left")
        if move is None:
            terms = self._terms(goal, None if before else signature, recipe=False)
            if (who := planned_by(plan)) is not None:
                decision = decision._replace(reason=f"{decision.reason}; {who}")
            return self._checked(plan, goal, skills, before, terms, decision)
        self._own_plans.forget(kind)
        decision = move_decision(decision, plan, move)
        terms = PlanTerms(REPLAN, goal.budget)
        return replace(self._checked(plan, goal, skills, before, terms, decision), move=note_of(lease, move))

    def _by_recipe(
        self, recipe: PlanJson, goal: PlanGoal, signature: str, left: int, decision: RouteDecision
    ) -> StorablePlan | None:
        """The recipe as a plan; None when it does not fit the skills, or the steps that are `left`, any more."""
        assert self._skills is not None
        if len(recipe["steps"]) > left:
            return None
        reason = f"a plan of {len(recipe['steps'])} steps that completed often enough for such goals"
        by_recipe = RouteDecision("fast", "recipe", reason, evidence=decision.evidence)
        terms = self._terms(goal, signature, recipe=True)
        try:
            return self._checked(recipe, goal, self._skills, None, terms, by_recipe)
        except InvalidInputError as error:
            self._log.warning("recipe does not fit any more, planning", signature=signature, reason=error.detail)
            return None

    async def _known(self) -> _Skills:
        registry = await self._catalog.registry()
        if self._skills is None:
            self._skills = _Skills(
                signatures(registry.values()), frozenset(spec.name for spec in registry.values() if spec.platform)
            )
        return self._skills

    def _goal(self, lease: Lease) -> PlanGoal:
        params = json.loads(lease.params)
        if lease.type != GOAL:
            return PlanGoal(lease.type, params, {}, bounds(self._settings))
        return PlanGoal(params.get("goal"), params.get("inputs") or {}, *read_goal(params, self._settings))

    def _terms(self, goal: PlanGoal, signature: str | None, *, recipe: bool) -> PlanTerms:
        if signature is None or not self._settings.recipe_after:
            return PlanTerms(goal.policy, goal.budget)
        learning = {
            "goal": goal.goal,
            "inputs": _types(goal.inputs),
            "after": self._settings.recipe_after,
            "least": self._settings.recipe_least,
        }
        return PlanTerms(goal.policy, goal.budget, signature, recipe, learning)

    def _checked(
        self,
        plan: PlanJson,
        goal: PlanGoal,
        skills: _Skills,
        before: EarlierPlan | None,
        terms: PlanTerms,
        decision: RouteDecision,
    ) -> StorablePlan:
        done = {step.name: step.skill for step in before.done} if before else {}
        validate_plan(read_plan(plan, goal.inputs), skills.by_name, max_steps=self._settings.max_plan_steps, done=done)
        if before:
            plan = renamed(plan, f"r{before.replans}.", done)
        tasks = {step.name: step.task for step in before.done} if before else {}
        usage = planning_usage(plan.get("usage"))
        steps = steps_of(plan, goal.inputs, tasks)
        return StorablePlan(plan, steps, terms, decision, tuple(tasks.values()), usage=usage)


def signature_of(goal: PlanGoal, skills: str) -> str:
    """The kind of a goal, for recipes: the goal, the names and types of its inputs, and the digest of the skills."""
    kind = json.dumps([goal.goal, _types(goal.inputs), skills], sort_keys=True)
    return hashlib.sha256(kind.encode()).hexdigest()


def _kind_of(lease: Lease, signature: str) -> str:
    """What own plans are known by: the kind of the goal, in its domain."""
    return f"{lease.domain or ''}\0{signature}"


def _samples(move: MoveJson | None) -> bool:
    return move is not None and move["sample"] is not None


def _types(inputs: Mapping[str, JsonValue]) -> dict[str, str]:
    return {name: jsontypes.shown(jsontypes.of_value(value)) for name, value in sorted(inputs.items())}


def _typed(skill: Signature) -> list[tuple[str, str, bool]]:
    return [(name, jsontypes.shown(param.type), param.required) for name, param in skill.params.items()]


def _shown(fields: Mapping[str, jsontypes.JsonType]) -> list[tuple[str, str]]:
    return [(name, jsontypes.shown(kind)) for name, kind in fields.items()]
