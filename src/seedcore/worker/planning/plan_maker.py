"""Makes plans for leased tasks: by a recipe, or by the Cognitive service."""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast
from uuid import UUID

from pydantic import JsonValue

from seedcore.errors import InvalidInputError
from seedcore.settings import Settings
from seedcore.skills import jsontypes
from seedcore.skills.signatures import Signature, signatures
from seedcore.tasks.model import GOAL, EarlierPlan, Lease, PlanTerms, StepSpec
from seedcore.tasks.plans.plan import read_plan, validate_plan
from seedcore.tasks.plans.plan_options import bounds, read_goal
from seedcore.telemetry.logs import get_logger
from seedcore.worker.decisions.route_decision import RouteDecision
from seedcore.worker.planning.plan_steps import renamed, steps_of
from seedcore.worker.ports import LeaseStore, PlanJson, PlanRequest, PlanService
from seedcore.worker.skill_catalog import SkillCatalog

MAX_REMEMBERED = 10_000
"""Kinds of tasks that are known to be their own plan."""


class OverBudgetError(Exception):
    """The plan's steps would be more than its budget allows."""


@dataclass(frozen=True, slots=True)
class StorablePlan:
    """A plan, ready to store: as JSON, as steps, with its terms. `done` are the tasks that it takes results from."""

    plan: PlanJson
    steps: list[StepSpec]
    terms: PlanTerms
    decision: RouteDecision
    done: tuple[UUID, ...] = ()


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
        self._own_plans: OrderedDict[str, None] = OrderedDict()
        self._log = get_logger("seedcore.worker.plan_maker")

    def is_own_plan(self, lease: Lease) -> bool:
        """Whether a task is known to be its own plan, from others that look like it."""
        if self._skills is None or not self._own_plans or lease.type == GOAL:
            return False
        try:
            return signature_of(self._goal(lease), self._skills.digest) in self._own_plans
        except (ValueError, TypeError, AttributeError, RecursionError):
            # What cannot be read is not known; `make` reports what is wrong with it, and no other task suffers.
            return False

    async def make(self, lease: Lease, decision: RouteDecision) -> StorablePlan | None:
        """A valid plan: the recipe's when there is one, else one that the Cognitive service makes.

        A goal names what it wants and what it starts from. A task whose skill is known is planned for from its params;
        None: the plan is the task itself, which loses nothing when it runs as it is.

        Raises:
            InvalidInputError: the task, or the plan, is not what it must be.
            OverBudgetError: the plan has more steps than the budget leaves.
        """
        skills = await self._known()
        if lease.type in skills.platform:
            return None  # no plan has steps with it
        goal = self._goal(lease)
        signature = signature_of(goal, skills.digest)
        if signature in self._own_plans:
            return None
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
        request = PlanRequest(goal.goal, goal.inputs, min(left, self._settings.max_plan_steps), without, done)
        plan = await self._plans.plan(request)
        if before is None and [step["skill"] for step in plan["steps"]] == [lease.type]:
            self._remember_own_plan(signature)
            return None
        terms = self._terms(goal, None if before else signature, recipe=False)
        if len(plan["steps"]) > left:
            raise OverBudgetError(f"the plan has {len(plan['steps'])} steps, and its budget has {left} left")
        return self._checked(plan, goal, skills, before, terms, decision)

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

    def _remember_own_plan(self, signature: str) -> None:
        self._own_plans[signature] = None
        if len(self._own_plans) > MAX_REMEMBERED:
            self._own_plans.popitem(last=False)

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
        return StorablePlan(plan, steps_of(plan, goal.inputs, tasks), terms, decision, tuple(tasks.values()))


def signature_of(goal: PlanGoal, skills: str) -> str:
    """The kind of a goal, for recipes: the goal, the names and types of its inputs, and the digest of the skills."""
    kind = json.dumps([goal.goal, _types(goal.inputs), skills], sort_keys=True)
    return hashlib.sha256(kind.encode()).hexdigest()


def _types(inputs: Mapping[str, JsonValue]) -> dict[str, str]:
    return {name: jsontypes.shown(jsontypes.of_value(value)) for name, value in sorted(inputs.items())}


def _typed(skill: Signature) -> list[tuple[str, str, bool]]:
    return [(name, jsontypes.shown(param.type), param.required) for name, param in skill.params.items()]


def _shown(fields: Mapping[str, jsontypes.JsonType]) -> list[tuple[str, str]]:
    return [(name, jsontypes.shown(kind)) for name, kind in fields.items()]
