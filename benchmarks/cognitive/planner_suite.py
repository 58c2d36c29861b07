"""Generated planning problems of which the cheapest plan is known from another method.

Each library has 60 skills. A hidden plan of 12 steps leads from the inputs to the goal: a DAG in which a step takes up
to three fields of earlier ones. Around it stand ways that look as good: twins at another cost, short cuts that need a
detour, skills that give two of the fields at once, and skills that lead elsewhere. What the cheapest plan costs is
found by integer programming (HiGHS in SciPy), which shares no code with the planner.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from seedcore.skills.jsontypes import of_schema
from seedcore.skills.signatures import Param, Signature

STRING = of_schema({"type": "string"}, {})
SKILLS, STEPS = 60, 12


@dataclass(frozen=True, slots=True)
class Problem:
    """A library, what is given, and what is wanted."""

    skills: Mapping[str, Signature]
    inputs: Mapping[str, str]
    goal: str


def made(name: str, takes: list[str], gives: list[str], cost: float) -> Signature:
    return Signature(name, {t: Param(STRING, True) for t in takes}, dict.fromkeys(gives, STRING), cost)


def generate(seed: int) -> Problem:
    rng = random.Random(seed)

    def cost() -> float:
        return round(rng.uniform(0.5, 2.0), 3)

    skills: list[Signature] = []
    fields = ["start"]
    unused: list[str] = []
    for n in range(STEPS):
        # Every step is needed: what no later one has taken yet is taken first.
        left = STEPS - n
        many = max(1, len(unused) - left + 2) if unused else 1
        takes = unused[:many] if n == STEPS - 1 or many > 1 else [rng.choice(unused or fields)]
        takes = unused[:] if n == STEPS - 1 else takes
        if rng.random() < 0.4:
            takes = [*takes, rng.choice(fields)]
        takes = list(dict.fromkeys(takes))
        unused = [f for f in unused if f not in takes]
        gives = [f"f{n}"] + ([f"g{n}"] if rng.random() < 0.3 else [])
        skills.append(made(f"hidden{n:02}", takes, gives, cost()))
        fields += gives
        unused.append(f"f{n}")
    while len(skills) < SKILLS:
        n, kind = len(skills), rng.random()
        hidden = skills[rng.randrange(STEPS)]
        gives, takes = list(hidden.results), list(hidden.params)
        if kind < 0.25:
            skills.append(made(f"twin{n}", takes, gives[:1], cost()))
        elif kind < 0.45:
            later = rng.choice(skills[:STEPS])
            skills.append(
                made(f"double{n}", list({*takes, *later.params}), [gives[0], next(iter(later.results))], 2 * cost())
            )
        elif kind < 0.65:
            skills.append(made(f"detour{n}a", [rng.choice(fields)], [f"d{n}"], cost() / 2))
            skills.append(made(f"detour{n}b", [f"d{n}", rng.choice(takes)], gives[:1], cost() / 2))
        else:
            skills.append(made(f"noise{n}", [rng.choice(fields)], [f"n{n}"], cost()))
    rng.shuffle(skills)
    return Problem({s.name: s for s in skills[:]}, {"start": "x"}, f"f{STEPS - 1}")


def cost_bounds(problem: Problem, max_steps: int) -> tuple[float, float]:
    """Between what the cheapest plan costs, one part in 10,000 apart.

    A skill is used or not, it has a rank, and each need of a used one has a provider of a lower rank.
    """
    skills = [problem.skills[name] for name in sorted(problem.skills)]
    many = len(skills)
    links = [
        (i, field, j)
        for i, skill in enumerate(skills)
        for field in skill.params
        if field not in problem.inputs
        for j, other in enumerate(skills)
        if i != j and field in other.results
    ]
    goal = [j for j, skill in enumerate(skills) if problem.goal in skill.results]
    width = 2 * many + len(links)
    rows: list[np.ndarray] = []
    low: list[float] = []

    def at_least(entries: list[tuple[int, float]], bound: float) -> None:
        row = np.zeros(width)
        for column, value in entries:
            row[column] += value
        rows.append(row)
        low.append(bound)

    at_least([(j, 1.0) for j in goal], 1.0)
    at_least([(i, -1.0) for i in range(many)], -float(max_steps))
    for i, skill in enumerate(skills):
        for field in skill.params:
            if field not in problem.inputs:
                from_ = [2 * many + n for n, link in enumerate(links) if link[:2] == (i, field)]
                at_least([*((column, 1.0) for column in from_), (i, -1.0)], 0.0)
    for n, (i, _, j) in enumerate(links):
        column = 2 * many + n
        at_least([(j, 1.0), (column, -1.0)], 0.0)
        at_least([(many + i, 1.0), (many + j, -1.0), (column, -float(many))], 1.0 - many)
    costs = np.zeros(width)
    costs[:many] = [skill.cost for skill in skills]
    integral = np.concatenate([np.ones(many), np.zeros(many), np.ones(len(links))])
    upper = np.concatenate([np.ones(many), np.full(many, float(many)), np.ones(len(links))])
    found = milp(
        costs,
        constraints=LinearConstraint(np.array(rows), np.array(low), np.inf),
        integrality=integral,
        bounds=Bounds(np.zeros(width), upper),
        options={"mip_rel_gap": 1e-4},
    )
    if not found.success:
        raise ValueError(found.message)
    return float(found.mip_dual_bound), float(found.fun)
