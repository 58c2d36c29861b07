"""Applies the policy to a batch before agents are selected: each task's evidence, and the rule that holds for it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from seedcore.decision.batch import TaskBatch
from seedcore.decision.cel_rules import Facts, FactValue
from seedcore.decision.fleet_table import Fleet
from seedcore.decision.policy import Policy, Ruling, RulingCache
from seedcore.decision.salience import formula, task_salience
from seedcore.decision.stream_status import (
    ActiveHold,
    HoldLookup,
    StatusLookup,
    StreamKey,
    StreamStatus,
    stream_name,
)

STREAM_HELD = "stream_held"
"""The rule of tasks whose stream is held."""

RECIPE = Ruling("plan", "recipe", "a recipe of several steps is in force for this type")


@dataclass(frozen=True, slots=True)
class PolicyContext:
    """What the policy is applied with.

    Attributes:
        policy: the policy in force.
        monitors: status of the streams.
        plans_per_minute: tasks that were planned in the last minute.
        recipe_types: types with a recipe of several steps in force.
        holds: the held streams; None: none is.
        salience: of streams, by their names; of one that is missing, the formula says what its evidence says.
    """

    policy: Policy
    monitors: StatusLookup
    plans_per_minute: int = 0
    recipe_types: Collection[str] = ()
    holds: HoldLookup | None = None
    salience: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rulings:
    """By task: evidence (None: unknown), and the ruling (None: no rule holds)."""

    evidence: list[float | None]
    rulings: list[Ruling | None]


def apply_policy(tasks: TaskBatch, fleet: Fleet, context: PolicyContext) -> Rulings:
    """Rule on a batch; changes nothing but the policy's count of failures.

    A task that a person has approved is not held again. A task whose stream is held waits, unless a rule that refers to
    the hold decides for it. A task without a ruling is planned if its type has a recipe of several steps; planning then
    finds the recipe.
    """
    policy, lookups = context.policy, _BatchLookups(fleet, context)
    evidence = [lookups.status(key).evidence for key in zip(tasks.domain, tasks.type, strict=True)]
    if not policy.rules and not context.recipe_types and not context.holds:
        return Rulings(evidence, [None] * len(evidence))
    # Tasks that are equal in every fact that matters are ruled on once.
    used = {*policy.facts_used("task")} | ({"priority", "attempt"} if policy.uses("salience") else set())
    names = ["type", "approved", *sorted(used - {"type", "domain", "approved"})]
    cache: RulingCache = {}
    known: dict[tuple[object, ...], Ruling | None] = {}
    rulings: list[Ruling | None] = []
    for key in zip(tasks.domain, tasks.direct, *(getattr(tasks, name) for name in names), strict=True):
        if key not in known:
            domain, direct, *values = key
            task = dict(zip(names, values, strict=True))
            ruling = policy.evaluate(lookups.facts(task, domain), cache, direct=direct)
            hold = lookups.hold(domain, task["type"])
            if hold is not None and (ruling is None or ruling.rule not in policy.hold_aware):
                ruling = Ruling("hold", STREAM_HELD, hold.reason, hold_s=hold.wait_s)
            if ruling is not None and ruling.route == "hold" and task["approved"]:
                ruling = None
            if ruling is None and task["type"] in context.recipe_types and not direct:
                ruling = RECIPE
            known[key] = ruling
        rulings.append(known[key])
    return Rulings(evidence, rulings)


@dataclass(slots=True)
class _BatchLookups:
    """Facts that are looked up once per batch for each type or stream."""

    fleet: Fleet
    context: PolicyContext
    _fleet_facts: dict[str, dict[str, FactValue]] = field(default_factory=dict)
    _statuses: dict[StreamKey, StreamStatus] = field(default_factory=dict)
    _valve_facts: dict[StreamKey, dict[str, FactValue]] = field(default_factory=dict)

    def status(self, key: StreamKey) -> StreamStatus:
        known = self._statuses.get(key)
        if known is None:
            known = self._statuses[key] = self.context.monitors.status(key)
        return known

    def hold(self, domain: str | None, type_: str) -> ActiveHold | None:
        return self.context.holds.of(stream_name(domain, type_)) if self.context.holds else None

    def facts(self, task: dict[str, FactValue], domain: str | None) -> Facts:
        type_ = str(task["type"])
        salience = self._salience((domain, type_), task) if self.context.policy.uses("salience") else 0.0
        return {
            "task": task | {"domain": domain or ""},
            "salience": {"": salience},
            "valve": self._valve((domain, type_)) if self.context.policy.uses("valve") else {},
            # The backlog of every agent is summed up for it: not where no rule reads it.
            "fleet": self._fleet(type_) if self.context.policy.uses("fleet") else {},
            "budget": {"plans_per_minute": self.context.plans_per_minute},
        }

    def _salience(self, key: StreamKey, task: dict[str, FactValue]) -> float:
        stream = self.context.salience.get(stream_name(*key))
        if stream is None:
            stream = formula({"valve_evidence": self.status(key).evidence})
        return task_salience(stream, int(task["priority"]), int(task["attempt"]))

    def _valve(self, key: StreamKey) -> dict[str, FactValue]:
        known = self._valve_facts.get(key)
        if known is None:
            held = self.hold(*key) is not None
            known = self._valve_facts[key] = valve_facts(self.status(key), held=held)
        return known

    def _fleet(self, type_: str) -> dict[str, FactValue]:
        known = self._fleet_facts.get(type_)
        if known is None:
            organ = self.fleet.organ_of(type_)
            team = None if organ is None else self.fleet.team(organ)
            queued = 0.0 if team is None else float(self.fleet.load(team).queued_s.sum())
            known = self._fleet_facts[type_] = {"agents": 0 if team is None else len(team), "queued_s": queued}
        return known


def valve_facts(status: StreamStatus, *, held: bool = False) -> dict[str, FactValue]:
    """A stream's facts for rules; `known` says whether there is evidence, which is otherwise 0."""
    return {
        "state": status.state,
        "known": status.evidence is not None,
        "shifted": status.shifted,
        "held": held,
        "evidence": status.evidence or 0.0,
        "work": status.work or 0.0,
        "outcome": status.outcome or 0.0,
    }
