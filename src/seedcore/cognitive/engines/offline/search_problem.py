"""Models a goal as a search problem over sets of facts, each set stored as the bits of an integer.

A fact is a field name with a type that the inputs or a skill provide. A skill may run when each required param is met
by a fact with its name and a fitting type; it adds the facts of its results. Facts are never removed, so a skill that
adds nothing relevant need not run.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from seedcore.cognitive.engines.offline.goals import Goal
from seedcore.skills import jsontypes
from seedcore.skills.jsontypes import JsonType
from seedcore.skills.signatures import Param, Signature

Fact = tuple[str, JsonType]


@dataclass(frozen=True, slots=True)
class Action:
    """A relevant skill: it may run when each of `needs` shares a bit with the state; then `adds` joins the state."""

    skill: Signature
    needs: tuple[int, ...]
    adds: int

    def possible(self, state: int) -> bool:
        """Whether the skill may run in `state`."""
        return all(state & need for need in self.needs)


@dataclass(frozen=True, slots=True)
class SearchProblem:
    """Start, goals (one bit of each is enough) and the relevant skills, ordered by name."""

    start: int
    wanted: tuple[int, ...]
    actions: tuple[Action, ...]

    def reached(self, state: int) -> bool:
        """Whether `state` meets every goal."""
        return all(state & each for each in self.wanted)

    def closure(self) -> int:
        """Every relevant fact that can be reached."""
        state, changed = self.start, True
        while changed:
            changed = False
            for action in self.actions:
                if action.adds & ~state and action.possible(state):
                    state |= action.adds
                    changed = True
        return state


class _Facts:
    def __init__(self) -> None:
        self.bits: dict[Fact | str, int] = {}
        self.by_name: dict[str, list[Fact]] = {}

    def bit(self, fact: Fact) -> int:
        if fact not in self.bits:
            self.by_name.setdefault(fact[0], []).append(fact)
        return self.bits.setdefault(fact, 1 << len(self.bits))

    def mark(self, skill: str) -> int:
        """The fact that `skill` has run."""
        return self.bits.setdefault(skill, 1 << len(self.bits))

    def meeting(self, name: str, wanted: JsonType) -> int:
        return sum(self.bits[f] for f in self.by_name.get(name, ()) if jsontypes.fits(f[1], wanted))


def build_problem(
    goals: Sequence[Goal], inputs: Mapping[str, object], skills: Mapping[str, Signature], done: Iterable[Signature] = ()
) -> SearchProblem:
    """The search problem, without skills and facts that cannot lead to the goals; skills in `done` have run."""
    facts = _Facts()
    start = sum({facts.bit((name, jsontypes.of_value(value))) for name, value in inputs.items()})
    named = {goal.skill for goal in goals if goal.skill}
    for skill in done:
        for result in skill.results.items():
            start |= facts.bit(result)
        if skill.name in named:
            start |= facts.mark(skill.name)
    ordered = [skills[name] for name in sorted(skills)]
    adds = [sum({facts.bit(result) for result in skill.results.items()}) for skill in ordered]
    adds = [bits | (facts.mark(s.name) if s.name in named else 0) for s, bits in zip(ordered, adds, strict=True)]
    actions = [
        Action(skill, tuple(facts.meeting(*need) for need in required_params(skill)), bits)
        for skill, bits in zip(ordered, adds, strict=True)
    ]
    wanted = tuple(
        facts.mark(goal.skill) if goal.skill else facts.meeting(goal.field or "", jsontypes.ANY) for goal in goals
    )
    return SearchProblem(start, wanted, _relevant(actions, wanted))


def required_params(skill: Signature) -> list[tuple[str, JsonType]]:
    """The required params of a skill."""
    return [(name, param.type) for name, param in skill.params.items() if param.required]


def optional_params(skill: Signature) -> list[tuple[str, Param]]:
    """The optional params of a skill."""
    return [(name, param) for name, param in skill.params.items() if not param.required]


def _relevant(actions: Sequence[Action], wanted: Sequence[int]) -> tuple[Action, ...]:
    """The actions that can lead to the goals, with only those of their facts that matter."""
    facts = 0
    for each in wanted:
        facts |= each
    chosen: set[int] = set()
    changed = True
    while changed:
        changed = False
        for i, action in enumerate(actions):
            if i not in chosen and action.adds & facts:
                chosen.add(i)
                changed = True
                for need in action.needs:
                    facts |= need
    return tuple(Action(a.skill, a.needs, a.adds & facts) for i, a in enumerate(actions) if i in chosen)
