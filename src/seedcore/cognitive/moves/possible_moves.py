"""Which moves there are for a task whose work stopped looking like its past, by the types of the skills."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from seedcore.skills import jsontypes
from seedcore.skills.jsontypes import JsonType
from seedcore.skills.signatures import Signature
from seedcore.tasks.plans.plan import INPUTS, PlanDefinition, Step, reference

MoveKind = Literal["as_is", "equivalent", "check_before", "check_after", "sample", "person"]

MAX_OF_A_KIND = 10
"""Equivalents, and checks, that are looked at; the first by name."""


@dataclass(frozen=True, slots=True)
class EscalationMove:
    """Something to try: the kind, the other skill that it needs, and its plan (None: a person decides).

    `cost` is what its steps cost, in runs of the task's own skill.
    """

    kind: MoveKind
    skill: str | None = None
    plan: PlanDefinition | None = None
    cost: float = 0.0

    @property
    def name(self) -> str:
        """`kind`, or `kind:skill`: what it is learnt under."""
        return self.kind if self.skill is None else f"{self.kind}:{self.skill}"


def possible_moves(
    skill: Signature, inputs: Mapping[str, object], skills: Mapping[str, Signature], without: Collection[str] = ()
) -> list[EscalationMove]:
    """Every move for a task of `skill`, the plain run first and a person last.

    Args:
        skill: the task's own.
        inputs: the task's params.
        skills: the skills that exist; none that a person must approve is part of a move.
        without: skills that failed for this task already.
    """
    given = {name: jsontypes.of_value(value) for name, value in inputs.items()}
    usable = [other for name, other in sorted(skills.items()) if name not in without and name != skill.name]
    moves: list[EscalationMove] = []
    if skill.name not in without:
        plain = PlanDefinition((_step("s1", skill, given),), _output("s1", skill), inputs, skill.cost)
        moves += [EscalationMove("as_is", None, plain, 1.0), EscalationMove("sample", None, plain, 1.0)]
        checks = (other for other in usable if other.checks == skill.name and not other.asks)
        found = (_checked(skill, check, given, inputs) for check in checks)
        moves += [move for move in found if move is not None][:MAX_OF_A_KIND]
    moves += list(_equivalents(skill, usable, given, inputs))[:MAX_OF_A_KIND]
    return [*moves, EscalationMove("person")]


def _equivalents(
    skill: Signature, others: Collection[Signature], given: Mapping[str, JsonType], inputs: Mapping[str, object]
) -> Iterator[EscalationMove]:
    for other in others:
        if other.checks is None and not other.asks and stands_for(other, skill, given):
            steps = (_step("s1", other, given),)
            plan = PlanDefinition(steps, _output("s1", skill), inputs, other.cost)
            yield EscalationMove("equivalent", other.name, plan, other.cost / skill.cost)


def stands_for(other: Signature, skill: Signature, given: Collection[str] = ()) -> bool:
    """Whether `other` can run in place of `skill`: the same required params, all that is given, and the same results.

    Names and types must agree. A skill that takes or gives just anything stands for no other.
    """
    required = {name for name, param in skill.params.items() if param.required}
    if not skill.results or not required or {n for n, p in other.params.items() if p.required} != required:
        return False
    used = required | (set(given) & skill.params.keys())
    if not used <= other.params.keys() or not skill.results.keys() <= other.results.keys():
        return False
    return all(_agree(skill.params[name].type, other.params[name].type) for name in used) and all(
        _agree(other.results[name], kind) for name, kind in skill.results.items()
    )


def _agree(given: JsonType, wanted: JsonType) -> bool:
    return jsontypes.ANY.isdisjoint(given | wanted) and jsontypes.fits(given, wanted)


def _checked(
    skill: Signature, check: Signature, given: Mapping[str, JsonType], inputs: Mapping[str, object]
) -> EscalationMove | None:
    """The skill and its check; None: the check needs something else."""
    after = check.when == "after"
    sources = {name: (INPUTS, kind) for name, kind in given.items()}
    if after:
        sources |= {name: ("s1", kind) for name, kind in skill.results.items()}
    params: dict[str, object] = {}
    for name, param in check.params.items():
        source = sources.get(name)
        if source is not None and jsontypes.fits(source[1], param.type):
            params[name] = reference(source[0], name)
        elif param.required:
            return None
    needs = ("s1",) if after else ()
    checking = Step("check", check.name, params, needs)
    running = _step("s1", skill, given, () if after else ("check",))
    steps = (running, checking) if after else (checking, running)
    cost = skill.cost + check.cost
    plan = PlanDefinition(steps, _output("s1", skill), inputs, cost)
    return EscalationMove("check_after" if after else "check_before", check.name, plan, cost / skill.cost)


def _step(name: str, skill: Signature, given: Mapping[str, JsonType], needs: tuple[str, ...] = ()) -> Step:
    params: dict[str, object] = {field: reference(INPUTS, field) for field in given if field in skill.params}
    return Step(name, skill.name, params, needs)


def _output(step: str, skill: Signature) -> dict[str, dict[str, str]]:
    return {name: reference(step, name) for name in skill.results}
