"""What a step costs, learnt from how tasks of its skill ended: time until it succeeds, beside that of a skill of which
nothing is known."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

from seedcore.skills.signatures import Signature
from seedcore.tasks.failure_codes import NOT_FAILURES_OF_THE_WORK
from seedcore.tasks.history import EndsOfType

OVERHEAD_S = 0.02
"""What every step costs beside its skill: a passage through the queue."""
PRIOR_ENDS = 10.0
"""So many ends of the typical skill are added to those of each: few ends change little."""
MIN_COST, MAX_COST = 0.05, 100.0


@dataclass(frozen=True, slots=True)
class SkillRecord:
    """How tasks of a skill ended: how many, how many completed, and the mean seconds of those; None: none did."""

    ends: int
    completed: int
    seconds: float | None


def records(ends: Iterable[EndsOfType]) -> dict[str, SkillRecord]:
    """The record of each type; refusals by people, policy and budgets do not count."""
    found: dict[str, SkillRecord] = {}
    for row in ends:
        if row.code in NOT_FAILURES_OF_THE_WORK:
            continue
        before = found.get(row.type, SkillRecord(0, 0, None))
        completed = row.ends if row.code is None else 0
        seconds = row.seconds if row.code is None else before.seconds
        found[row.type] = SkillRecord(before.ends + row.ends, before.completed + completed, seconds)
    return found


def with_learned_costs(skills: Mapping[str, Signature], known: Mapping[str, SkillRecord]) -> dict[str, Signature]:
    """The skills with costs: 1 for a skill of which nothing is known, else its expected time until success beside the
    typical one's.

    Both the time and the rate of success are shrunk to those of the typical skill, as if PRIOR_ENDS tasks had ended
    like it. A plan of two quick steps may so cost less than one of a slow step, and one that often fails costs more.
    """
    mine = {name: known[name] for name in skills if name in known and known[name].ends}
    times = [record.seconds for record in mine.values() if record.seconds is not None]
    if not mine:
        return dict(skills)
    usual_s = median(times) if times else 0.0
    ends, completed = (sum(getattr(r, name) for r in mine.values()) for name in ("ends", "completed"))
    usual_rate = (completed + 1) / (ends + 2)
    usual = (OVERHEAD_S + usual_s) / usual_rate
    costs: dict[str, Signature] = {}
    for name, skill in skills.items():
        record = mine.get(name)
        if record is None:
            costs[name] = skill
            continue
        weight = record.completed if record.seconds is not None else 0
        seconds = (PRIOR_ENDS * usual_s + weight * (record.seconds or 0.0)) / (PRIOR_ENDS + weight)
        rate = (PRIOR_ENDS * usual_rate + record.completed) / (PRIOR_ENDS + record.ends)
        cost = skill.cost * (OVERHEAD_S + seconds) / rate / usual
        costs[name] = replace(skill, cost=min(max(round(cost, 4), MIN_COST), MAX_COST))
    return costs


def evidence_of(steps: Sequence[str], known: Mapping[str, SkillRecord]) -> list[tuple[str, SkillRecord]]:
    """The records that a plan's cost rests on, each skill once."""
    return [(name, known[name]) for name in dict.fromkeys(steps) if name in known]
