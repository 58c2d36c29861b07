"""Loads and evaluates the policy: rules in YAML, compiled once, that route a task before agents are selected."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from seedcore.decision.cel_rules import Facts, PolicyRule, Route
from seedcore.decision.triage_policy import NONE, TriagePolicy
from seedcore.errors import FieldError, InvalidInputError, wrong_fields
from seedcore.utils.yaml_files import read_yaml

MAX_RULES, MAX_BYTES, MAX_CACHED = 100, 256 * 1024, 10_000


class Ruling(NamedTuple):
    """The result of a rule for a task.

    `failed`: the rule could not be evaluated, so the task is held. `hold_s`: how long it waits; None: as the setting
    says.
    """

    route: Route
    rule: str
    reason: str
    failed: bool = False
    hold_s: float | None = None


StaleSnapshot = Literal["go_on", "wait", "hold"]
"""What workers do with tasks while their snapshot is older than SEEDCORE_SNAPSHOT_MAX_AGE_S: decide with what they
know, let tasks wait until a Coordinator answers, or hold them for a person."""

RulingCache = dict[tuple[object, ...], Ruling | None]
"""Rulings of one batch, by the facts that rules use."""


class _RuleModel(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    when: str = Field(min_length=1)
    route: Route
    priority: int = Field(0, ge=-1_000, le=1_000)
    reason: str = Field("", max_length=500)
    wait_s: float | None = Field(None, ge=1, le=31_536_000, allow_inf_nan=False, strict=True)

    @model_validator(mode="after")
    def _waits_when_held(self) -> Self:
        if self.wait_s is not None and self.route != "hold":
            raise ValueError("wait_s is of rules whose route is hold")
        return self


class _PolicyModel(BaseModel):
    model_config = ConfigDict(extra="forbid")

    rules: list[_RuleModel] = Field(default_factory=list, max_length=MAX_RULES)
    triage: TriagePolicy = TriagePolicy()
    stale_snapshot: StaleSnapshot = "go_on"


@dataclass(slots=True)
class Policy:
    """Rules in the order in which they are tried.

    Attributes:
        source: the file that they are from.
        version: a hash of the file's bytes: the same rules have the same version everywhere.
        failures: by rule, how often it could not be evaluated.
        triage: the part for triages.
        stale_snapshot: what workers do while no Coordinator answers for too long.
        text: the file's text, which workers compile.
        budget_aware: rules that use the budget of plans.
        hold_aware: rules that use the fact `valve.held`: they also decide for tasks of held streams.
    """

    source: str
    version: str
    rules: list[PolicyRule]
    failures: dict[str, int] = field(default_factory=dict)
    triage: TriagePolicy = field(default_factory=TriagePolicy)
    stale_snapshot: StaleSnapshot = "go_on"
    text: str = ""
    budget_aware: frozenset[str] = field(init=False)
    hold_aware: frozenset[str] = field(init=False)
    _groups: frozenset[str] = field(init=False)
    _fields: list[tuple[str, str]] = field(init=False)

    def __post_init__(self) -> None:
        self._fields = sorted(set().union(*(rule.fields for rule in self.rules)))
        self._groups = frozenset(group for group, _ in self._fields)
        self.budget_aware = frozenset(rule.name for rule in self.rules if any(g == "budget" for g, _ in rule.fields))
        self.hold_aware = frozenset(rule.name for rule in self.rules if ("valve", "held") in rule.fields)

    def facts_used(self, group: str) -> list[str]:
        """Facts of a group that rules use."""
        return [name for other, name in self._fields if other == group]

    def uses(self, group: str) -> bool:
        """Whether any rule uses facts of a group."""
        return group in self._groups

    def evaluate(self, facts: Facts, cache: RulingCache, *, direct: bool = False) -> Ruling | None:
        """The ruling of the first rule that holds; None: no rule holds.

        A rule that cannot be evaluated holds the task and says so; it never lets the task pass. `cache` serves one
        batch: tasks that are equal in the facts that rules use are evaluated once. Rules that plan are skipped for
        tasks that run `direct`.
        """
        if not self.rules:
            return None
        key = (direct, *(facts[group][name] for group, name in self._fields))
        if key in cache:
            return cache[key]
        # CEL converts every fact for every rule: only the used ones are passed.
        used: Facts = {}
        for group, name in self._fields:
            used.setdefault(group, {})[name] = facts[group][name]
        ruling = self._first(used, direct)
        if len(cache) < MAX_CACHED:
            cache[key] = ruling
        return ruling

    def _first(self, facts: Facts, direct: bool) -> Ruling | None:
        for rule in self.rules:
            if direct and rule.route == "plan":
                continue
            try:
                if rule.holds(facts):
                    return Ruling(rule.route, rule.name, rule.reason or f"policy rule {rule.name}", hold_s=rule.wait_s)
            except Exception as error:  # noqa: BLE001 - on any error the task must not pass
                self.failures[rule.name] = self.failures.get(rule.name, 0) + 1
                return Ruling("hold", rule.name, f"policy rule {rule.name} failed: {str(error)[:200]}", failed=True)
        return None

    def report(self) -> dict[str, object]:
        """The policy as JSON."""
        names = ("name", "when", "route", "priority", "reason", "wait_s")
        rules = [{name: getattr(rule, name) for name in names} for rule in self.rules]
        triage = self.triage.model_dump(mode="json", exclude_none=True)
        return {
            "source": self.source,
            "version": self.version,
            "rules": rules,
            "failures": dict(self.failures),
            "triage": triage,
            "stale_snapshot": self.stale_snapshot,
        }


def load_policy(path: Path | None, actions: Collection[str] = ()) -> Policy:
    """The policy in a file, or the package's own; `actions` are the known actions of a triage.

    Raises:
        InvalidInputError: the file cannot be read, a field is wrong, or a rule does not compile; the text says which.
    """
    if path is None:
        return parse_policy(files("seedcore.decision").joinpath("default_policy.yaml").read_bytes(), "default", actions)
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InvalidInputError(f"The policy {path} cannot be read: {error.strerror}.") from error
    return parse_policy(text, str(path), actions)


def parse_policy(text: bytes, source: str, actions: Collection[str] = ()) -> Policy:
    """The policy in `text` (YAML); see `load_policy`."""
    if len(text) > MAX_BYTES:
        raise InvalidInputError(f"The policy {source} is larger than {MAX_BYTES} bytes.")
    try:
        given = read_yaml(text)
        model = _PolicyModel.model_validate({} if given is None else given)
    except yaml.YAMLError as error:
        raise InvalidInputError(f"The policy {source} is not valid YAML: {error}") from error
    except ValidationError as error:
        raise InvalidInputError.for_fields(wrong_fields(error.errors()), f"The policy {source}: ") from None
    names = [rule.name for rule in model.rules]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidInputError(f"The policy {source} has two rules called {', '.join(twice)}.")
    if actions and (unknown := sorted(model.triage.actions.keys() - {NONE, *actions})):
        known = ", ".join(sorted(actions))
        raise InvalidInputError.for_fields(
            [FieldError(f"triage.actions.{unknown[0]}", f"no such action; known: {known}.")], f"The policy {source}: "
        )
    rules = [PolicyRule(**rule.model_dump()) for rule in model.rules]
    rules.sort(key=lambda rule: -rule.priority)
    return Policy(
        source,
        hashlib.sha256(text).hexdigest()[:12],
        rules,
        triage=model.triage,
        stale_snapshot=model.stale_snapshot,
        text=text.decode(),
    )
