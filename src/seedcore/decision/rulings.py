"""What is known about each task of a batch before an agent is chosen: its stream's evidence, and what policy says."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from seedcore.coordinator.monitors.stream_holds import Hold, Holds
from seedcore.coordinator.monitors.stream_monitors import Standing, Streams, stream_name
from seedcore.decision.fleet_table import Fleet
from seedcore.decision.policy import Facts, Policy, Ruling
from seedcore.schemas.coordinator import TaskColumns

STREAM_HELD = "stream_held"
"""The rule of tasks whose stream is held."""

RECIPE = Ruling("plan", "recipe", "a recipe of several steps is in force for this type")


@dataclass(frozen=True, slots=True)
class Considered:
    """By task: evidence (None: unknown), and the ruling (None: no rule holds)."""

    evidence: list[float | None]
    rulings: list[Ruling | None]


@dataclass(slots=True)
class _Batch:
    """What is looked up once for each type or stream."""

    fleet: Fleet
    streams: Streams
    holds: Holds | None = None
    teams: dict[str, dict[str, Any]] = field(default_factory=dict)
    standings: dict[tuple[str | None, str], Standing] = field(default_factory=dict)
    valves: dict[tuple[str | None, str], dict[str, Any]] = field(default_factory=dict)

    def standing(self, domain: str | None, type_: str) -> Standing:
        key = (domain, type_)
        known = self.standings.get(key)
        if known is None:
            known = self.standings[key] = self.streams.standing(key)
        return known

    def hold(self, domain: str | None, type_: str) -> Hold | None:
        return self.holds.of(stream_name(domain, type_)) if self.holds else None

    def team(self, type_: str) -> dict[str, Any]:
        known = self.teams.get(type_)
        if known is None:
            organ = self.fleet.organ_of(type_)
            team = None if organ is None else self.fleet.team(organ)
            queued = 0.0 if team is None else float(self.fleet.load(team).queued_s.sum())
            known = self.teams[type_] = {"agents": 0 if team is None else len(team), "queued_s": queued}
        return known

    def facts(self, task: dict[str, Any], domain: str | None, plans_per_minute: int) -> Facts:
        type_ = task["type"]
        valve = self.valves.get((domain, type_))
        if valve is None:
            held = self.hold(domain, type_) is not None
            valve = self.valves[domain, type_] = valve_facts(self.standing(domain, type_), held=held)
        return {
            "task": task | {"domain": domain or ""},
            "valve": valve,
            "fleet": self.team(type_),
            "budget": {"plans_per_minute": plans_per_minute},
        }


def consider(
    tasks: TaskColumns,
    fleet: Fleet,
    streams: Streams,
    policy: Policy,
    plans_per_minute: int,
    recipes: Collection[str] = (),
    holds: Holds | None = None,
) -> Considered:
    """Look at a batch; nothing is changed but the policy's count of failures.

    A task that a person has approved is not held again. One whose stream is held waits, unless a rule that asks about
    that holds for it. What no rule sends anywhere, and is of a type among `recipes` (those that have one of several
    steps), goes to be planned, which finds the recipe.
    """
    batch = _Batch(fleet, streams, holds)
    evidence = [batch.standing(*key).evidence for key in zip(tasks.domain, tasks.type, strict=True)]
    if not policy.rules and not recipes and not holds:
        return Considered(evidence, [None] * len(evidence))
    # Tasks that are alike in all that anybody asks about are looked at once.
    names = ["type", "approved", *sorted({*policy.asks("task")} - {"type", "domain", "approved"})]
    memo: dict[Any, Ruling | None] = {}
    known: dict[tuple[Any, ...], Ruling | None] = {}
    rulings: list[Ruling | None] = []
    for key in zip(tasks.domain, tasks.direct, *(getattr(tasks, name) for name in names), strict=True):
        if key not in known:
            domain, direct, *values = key
            task = dict(zip(names, values, strict=True))
            ruling = policy.decide(batch.facts(task, domain, plans_per_minute), memo, direct=direct)
            hold = batch.hold(domain, task["type"])
            if hold is not None and (ruling is None or ruling.rule not in policy.aware):
                ruling = Ruling("hold", STREAM_HELD, hold.reason, hold_s=hold.wait_s)
            if ruling is not None and ruling.route == "hold" and task["approved"]:
                ruling = None
            if ruling is None and task["type"] in recipes and not direct:
                ruling = RECIPE
            known[key] = ruling
        rulings.append(known[key])
    return Considered(evidence, rulings)


def valve_facts(standing: Standing, *, held: bool = False) -> dict[str, Any]:
    """Facts of a stream for rules; `known` says whether there is evidence, which is 0 else."""
    return {
        "state": standing.state,
        "known": standing.evidence is not None,
        "shifted": standing.shifted,
        "held": held,
        "evidence": standing.evidence or 0.0,
        "work": standing.work or 0.0,
        "outcome": standing.outcome or 0.0,
    }
