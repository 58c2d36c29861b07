"""A goal as a search problem over sets of facts, each set an integer of bits.

A fact is a field name with the type that somebody gives it. A skill may run when every required param is met by a fact
of its name whose type fits; it adds the facts of its results. Facts never go away, so running a skill that adds
nothing relevant is never needed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seedcore.cognitive.goals import Goal
from seedcore.skills import jsontypes
from seedcore.skills.jsontypes import JsonType
from seedcore.skills.signatures import Param, Signature

Fact = tuple[str, JsonType]


@dataclass(frozen=True, slots=True)
class Action:
    """A skill that may help: each of `needs` must share a bit with the state; `adds` joins it."""

    skill: Signature
    needs: tuple[int, ...]
    adds: int

    def possible(self, state: int) -> bool:
        """Whether the skill may run in `state`."""
        return all(state & need for need in self.needs)


@dataclass(frozen=True, slots=True)
class Problem:
    """Start, wanted facts (one bit of each is enough) and the relevant skills in order of their names."""

    start: int
    wanted: tuple[int, ...]
    actions: tuple[Action, ...]

    def reached(self, state: int) -> bool:
        """Whether `state` has all that is wanted."""
        return all(state & each for each in self.wanted)

    def closure(self) -> int:
        """Every relevant fact that can be had at all."""
        state, grown = self.start, True
        while grown:
            grown = False
            for action in self.actions:
                if action.adds & ~state and action.possible(state):
                    state |= action.adds
                    grown = True
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


def build(
    goals: Sequence[Goal], inputs: Mapping[str, Any], skills: Mapping[str, Signature], done: Iterable[Signature] = ()
) -> Problem:
    """The search problem, without the skills and facts that cannot lead to the goals; those in `done` have run."""
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
        Action(skill, tuple(facts.meeting(*need) for need in required(skill)), bits)
        for skill, bits in zip(ordered, adds, strict=True)
    ]
    wanted = tuple(
        facts.mark(goal.skill) if goal.skill else facts.meeting(goal.field or "", jsontypes.ANY) for goal in goals
    )
    return Problem(start, wanted, _relevant(actions, wanted))


def required(skill: Signature) -> list[tuple[str, JsonType]]:
    """The fields that a skill cannot do without."""
    return [(name, param.type) for name, param in skill.params.items() if param.required]


def optional(skill: Signature) -> list[tuple[str, Param]]:
    """The fields that a skill can do without."""
    return [(name, param) for name, param in skill.params.items() if not param.required]


def _relevant(actions: Sequence[Action], wanted: Sequence[int]) -> tuple[Action, ...]:
    """The actions that lead to what is wanted, and of what they add only that which matters."""
    facts = 0
    for each in wanted:
        facts |= each
    chosen: set[int] = set()
    grown = True
    while grown:
        grown = False
        for i, action in enumerate(actions):
            if i not in chosen and action.adds & facts:
                chosen.add(i)
                grown = True
                for need in action.needs:
                    facts |= need
    return tuple(Action(a.skill, a.needs, a.adds & facts) for i, a in enumerate(actions) if i in chosen)
