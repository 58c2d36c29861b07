"""The policy: rules in YAML, compiled once, that say which way a task goes before agents are chosen."""

import hashlib
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from seedcore.coordinator.rules import Route, Rule
from seedcore.errors import InvalidInputError, wrong_fields

MAX_RULES, MAX_BYTES, MAX_MEMO = 100, 256 * 1024, 10_000

Facts = dict[str, dict[str, Any]]


class Ruling(NamedTuple):
    """What a rule says about a task; `failed`: it could not be computed, so the task is held."""

    route: Route
    rule: str
    reason: str
    failed: bool = False


class _RuleModel(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    when: str = Field(min_length=1)
    route: Route
    priority: int = Field(0, ge=-1_000, le=1_000)
    reason: str = Field("", max_length=500)


class _PolicyModel(BaseModel):
    model_config = ConfigDict(extra="forbid")

    rules: list[_RuleModel] = Field(default_factory=list, max_length=MAX_RULES)


@dataclass(slots=True)
class Policy:
    """Rules from the first to be tried to the last.

    Attributes:
        source: where they are from.
        version: a hash of the file's bytes: the same rules have the same version everywhere.
        failures: by rule, how often it could not be computed.
    """

    source: str
    version: str
    rules: list[Rule]
    failures: dict[str, int] = field(default_factory=dict)
    _fields: list[tuple[str, str]] = field(init=False)

    def __post_init__(self) -> None:
        self._fields = sorted(set().union(*(rule.fields for rule in self.rules)))

    def asks(self, group: str) -> list[str]:
        """Facts of a group that rules ask about."""
        return [name for other, name in self._fields if other == group]

    def decide(self, facts: Facts, memo: dict[Any, Ruling | None], *, direct: bool = False) -> Ruling | None:
        """The first rule that holds; None: there is none, and what always holds decides.

        A rule that cannot be computed holds the task and says so; it never lets it pass. `memo` serves one batch: tasks
        that are alike in what rules ask about are decided once. Rules that plan do not hold for what runs `direct`.
        """
        if not self.rules:
            return None
        key = (direct, *(facts[group][name] for group, name in self._fields))
        if key in memo:
            return memo[key]
        # Every fact that goes to CEL is translated for every rule: none goes that nobody asks for.
        asked: Facts = {}
        for (group, name), value in zip(self._fields, key[1:], strict=True):
            asked.setdefault(group, {})[name] = value
        ruling = self._decide(asked, direct)
        if len(memo) < MAX_MEMO:
            memo[key] = ruling
        return ruling

    def _decide(self, facts: Facts, direct: bool) -> Ruling | None:
        for rule in self.rules:
            if direct and rule.route == "plan":
                continue
            try:
                if rule.holds(facts):
                    return Ruling(rule.route, rule.name, rule.reason or f"policy rule {rule.name}")
            except Exception as error:  # noqa: BLE001 - whatever CEL raises, the task must not pass
                self.failures[rule.name] = self.failures.get(rule.name, 0) + 1
                return Ruling("hold", rule.name, f"policy rule {rule.name} failed: {str(error)[:200]}", failed=True)
        return None

    def report(self) -> dict[str, Any]:
        """What is to be known about it."""
        names = ("name", "when", "route", "priority", "reason")
        rules = [{name: getattr(rule, name) for name in names} for rule in self.rules]
        return {"source": self.source, "version": self.version, "rules": rules, "failures": dict(self.failures)}


def load_policy(path: Path | None) -> Policy:
    """The policy in a file, or the package's own.

    Raises:
        InvalidInputError: the file cannot be read, a field is wrong, or a rule does not compile; all say which.
    """
    if path is None:
        return parse_policy(files("seedcore.coordinator").joinpath("default_policy.yaml").read_bytes(), "default")
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InvalidInputError(f"The policy {path} cannot be read: {error.strerror}.") from error
    return parse_policy(text, str(path))


def parse_policy(text: bytes, source: str) -> Policy:
    """The policy that `text` (YAML) says; see `load_policy`."""
    if len(text) > MAX_BYTES:
        raise InvalidInputError(f"The policy {source} is larger than {MAX_BYTES} bytes.")
    try:
        given = yaml.safe_load(text)
        model = _PolicyModel.model_validate({} if given is None else given)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInputError(f"The policy {source} is no YAML: {error}") from error
    except ValidationError as error:
        wrong = wrong_fields(error.errors())
        told = "; ".join(f"{e.field}: {e.message}" for e in wrong[:5])
        raise InvalidInputError(f"The policy {source}: {told}", errors=wrong) from None
    names = [rule.name for rule in model.rules]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidInputError(f"The policy {source} has two rules called {', '.join(twice)}.")
    rules = [Rule(**rule.model_dump()) for rule in model.rules]
    rules.sort(key=lambda rule: -rule.priority)
    return Policy(source, hashlib.sha256(text).hexdigest()[:12], rules)
