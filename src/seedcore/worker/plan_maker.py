"""From a task that needs a plan to the steps that the task engine stores: by a recipe, or by the Cognitive service."""

import asyncio
import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from seedcore.errors import InvalidInputError
from seedcore.settings import Settings
from seedcore.skills import jsontypes
from seedcore.skills.registry import SkillRegistry
from seedcore.skills.signatures import Signature, signatures
from seedcore.stores.postgres import Database
from seedcore.tasks.model import GOAL, EarlierPlan, Lease, PlanTerms, StepSpec, new_id
from seedcore.tasks.plans import repository as plan_repository
from seedcore.tasks.plans.plan import FROM, INPUTS, is_reference, read_plan, validate_plan
from seedcore.tasks.plans.plan_options import bounds, read_goal
from seedcore.telemetry.logs import get_logger
from seedcore.worker.ports import Brain, Decision, PlanAsk

MAX_REMEMBERED = 10_000
"""Kinds of tasks that are known to be their own plan."""


class OverBudgetError(Exception):
    """The plan's steps would be more than its budget allows."""


@dataclass(frozen=True, slots=True)
class Made:
    """A plan, ready to store: as JSON, as steps, with what holds for it. `done`: tasks that it takes from."""

    plan: dict[str, Any]
    steps: list[StepSpec]
    terms: PlanTerms
    decision: Decision
    done: tuple[UUID, ...] = ()


@dataclass(slots=True)
class Wanted:
    """What a task asks for."""

    goal: Any
    inputs: Mapping[str, Any]
    policy: Mapping[str, str]
    budget: Mapping[str, float]


@dataclass(slots=True)
class _Skills:
    by_name: dict[str, Signature]
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        told = sorted((s.name, sorted(_typed(s)), sorted(_shown(s.results))) for s in self.by_name.values())
        self.digest = hashlib.sha256(json.dumps(told).encode()).hexdigest()


class Planner:
    """Makes plans for leased tasks. It learns the skills when it is asked first: most dispatchers never plan."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        brain: Brain,
        load: Callable[[Settings], SkillRegistry] = SkillRegistry.load,
    ) -> None:
        self._settings, self._database, self._brain, self._load = settings, database, brain, load
        self._skills: _Skills | None = None
        self._themselves: OrderedDict[str, None] = OrderedDict()
        self._lock = asyncio.Lock()
        self._log = get_logger("seedcore.worker.plan_maker")

    def is_itself(self, lease: Lease) -> bool:
        """Whether a task is known to be its own plan, from others that look like it."""
        if self._skills is None or not self._themselves or lease.type == GOAL:
            return False
        try:
            return signature_of(self._wanted(lease), self._skills.digest) in self._themselves
        except (ValueError, TypeError, AttributeError, RecursionError):
            # Nothing is known of what cannot be read: `make` says what is wrong with it, and no other task suffers.
            return False

    async def make(self, lease: Lease, decision: Decision) -> Made | None:
        """A valid plan: the recipe's when there is one, else one that the Cognitive service makes.

        A goal names what it wants and what it starts from. A task whose skill is known is planned for from its params;
        None: the plan is the task itself, which loses nothing when it runs as it is.

        Raises:
            InvalidInputError: the task, or the plan, is not what it must be.
            OverBudgetError: the plan has more steps than the budget leaves.
        """
        skills = await self._known()
        wanted = self._wanted(lease)
        signature = signature_of(wanted, skills.digest)
        if signature in self._themselves:
            return None
        async with self._database.connection() as connection:
            before, recipe = await plan_repository.read_earlier_plan(connection, lease.id, signature)
        left = int(wanted.budget["steps"]) - (before.steps if before else 0)
        if before is None and recipe is not None and len(recipe["steps"]) <= left:
            try:
                return self._checked(
                    recipe,
                    wanted,
                    skills,
                    None,
                    self._terms(wanted, signature, recipe=True),
                    _by_recipe(recipe, decision),
                )
            except InvalidInputError as error:
                self._log.warning("a recipe no longer holds, planning", signature=signature, reason=error.detail)
        if left < 1:
            raise OverBudgetError(f"its budget of {wanted.budget['steps']:g} steps is used up")
        done = {step.name: step.skill for step in before.done} if before else {}
        without = before.without if before else ()
        ask = PlanAsk(wanted.goal, wanted.inputs, min(left, self._settings.max_plan_steps), without, done)
        plan = await self._brain.plan(ask)
        if before is None and [step["skill"] for step in plan["steps"]] == [lease.type]:
            self._themselves[signature] = None
            if len(self._themselves) > MAX_REMEMBERED:
                self._themselves.popitem(last=False)
            return None
        terms = self._terms(wanted, None if before else signature, recipe=False)
        if len(plan["steps"]) > left:
            raise OverBudgetError(f"the plan has {len(plan['steps'])} steps, and its budget has {left} left")
        return self._checked(plan, wanted, skills, before, terms, decision)

    async def _known(self) -> _Skills:
        async with self._lock:
            if self._skills is None:
                registry = await asyncio.to_thread(self._load, self._settings)
                self._skills = _Skills(signatures(registry.values()))
            return self._skills

    def _wanted(self, lease: Lease) -> Wanted:
        params = json.loads(lease.params)
        if lease.type != GOAL:
            return Wanted(lease.type, params, {}, bounds(self._settings))
        return Wanted(params.get("goal"), params.get("inputs") or {}, *read_goal(params, self._settings))

    def _terms(self, wanted: Wanted, signature: str | None, *, recipe: bool) -> PlanTerms:
        if signature is None or not self._settings.recipe_after:
            return PlanTerms(wanted.policy, wanted.budget)
        learning = {
            "goal": wanted.goal,
            "inputs": _types(wanted.inputs),
            "after": self._settings.recipe_after,
            "least": self._settings.recipe_least,
        }
        return PlanTerms(wanted.policy, wanted.budget, signature, recipe, learning)

    def _checked(
        self,
        plan: Mapping[str, Any],
        wanted: Wanted,
        skills: _Skills,
        before: EarlierPlan | None,
        terms: PlanTerms,
        decision: Decision,
    ) -> Made:
        done = {step.name: step.skill for step in before.done} if before else {}
        most = self._settings.max_plan_steps
        validate_plan(read_plan(plan, wanted.inputs), skills.by_name, max_steps=most, done=done)
        if before:
            plan = renamed(plan, f"r{before.replans}.", done)
        tasks = {step.name: step.task for step in before.done} if before else {}
        return Made(dict(plan), steps_of(plan, wanted.inputs, tasks), terms, decision, tuple(tasks.values()))


def signature_of(wanted: Wanted, skills: str) -> str:
    """What plans are alike by: the goal, the names and types of its inputs, and the skills there are."""
    told = json.dumps([wanted.goal, _types(wanted.inputs), skills], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()


def _types(inputs: Mapping[str, Any]) -> dict[str, str]:
    return {name: jsontypes.shown(jsontypes.of_value(value)) for name, value in sorted(inputs.items())}


def _typed(skill: Signature) -> list[tuple[str, str, bool]]:
    return [(name, jsontypes.shown(param.type), param.required) for name, param in skill.params.items()]


def _shown(fields: Mapping[str, jsontypes.JsonType]) -> list[tuple[str, str]]:
    return [(name, jsontypes.shown(kind)) for name, kind in fields.items()]


def _by_recipe(recipe: Mapping[str, Any], decision: Decision) -> Decision:
    reason = f"a plan of {len(recipe['steps'])} steps that completed often enough for such goals"
    return Decision("fast", "recipe", reason, evidence=decision.evidence)


def renamed(plan: Mapping[str, Any], prefix: str, done: Mapping[str, str]) -> dict[str, Any]:
    """`plan` with a prefix to the names of its own steps, so that none has the name of an earlier one."""

    def moved(value: Any) -> Any:
        kept = not is_reference(value) or value[FROM] == INPUTS or value[FROM] in done
        return value if kept else {**value, FROM: prefix + value[FROM]}

    steps = [
        {
            **step,
            "id": prefix + step["id"],
            "params": {name: moved(value) for name, value in step["params"].items()},
            "needs": [name if name in done else prefix + name for name in step.get("needs", ())],
        }
        for step in plan["steps"]
    ]
    return {**plan, "steps": steps, "output": {name: moved(value) for name, value in plan["output"].items()}}


def steps_of(plan: Mapping[str, Any], inputs: Mapping[str, Any], done: Mapping[str, UUID]) -> list[StepSpec]:
    """The steps of a valid plan with ids of their own; what comes from `inputs` is filled in at once."""
    ids = {step["id"]: new_id() for step in plan["steps"]}
    return [_step(step, ids, done, inputs) for step in plan["steps"]]


def _step(
    step: Mapping[str, Any], ids: Mapping[str, UUID], done: Mapping[str, UUID], inputs: Mapping[str, Any]
) -> StepSpec:
    literals: dict[str, Any] = {}
    bindings: dict[str, Any] = {}
    for name, value in step["params"].items():
        if not is_reference(value):
            literals[name] = value
        elif value[FROM] == INPUTS:
            literals[name] = inputs[value["field"]]
        else:
            source = ids.get(value[FROM]) or done[value[FROM]]
            bindings[name] = {"task": str(source), "field": value["field"]}
    needs = tuple(sorted(ids[name] for name in step.get("needs", ()) if name in ids))
    bound = json.dumps(bindings) if bindings else None
    return StepSpec(ids[step["id"]], step["id"], step["skill"], json.dumps(literals), bound, needs)
