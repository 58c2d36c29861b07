"""How users write a skill: a typed async function with the decorator `skill`."""

import inspect
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar, get_type_hints

from pydantic import BaseModel

Function = TypeVar("Function", bound=Callable[..., Awaitable[BaseModel]])
MARK = "__seedcore_skill__"
RESERVED = "goal"
"""The task type that asks for a plan: `seedcore.tasks.model.GOAL`, which is a layer above."""

ORGAN = re.compile(r"[a-z][a-z0-9_-]{0,62}")
"""What an organ may be called, here and in the organs file."""


class SkillClients(Protocol):
    """What a skill may call: the typed clients of the services."""

    @property
    def ml(self) -> Any:
        """Client of the ML service."""


@dataclass(frozen=True, slots=True)
class SkillContext:
    """What a skill knows about the task that it runs for.

    `lease_token` is the fencing token of this attempt and `idempotency_key` is the same for every attempt: hand one
    of them to outside systems, so that an effect there happens once.
    """

    task_id: str
    attempt: int
    lease_token: int
    idempotency_key: str
    logger: Any
    clients: SkillClients | None = field(default=None)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How a skill's failed attempts are tried again: after a random part of `base_s`, doubled each time up to `max_s`.

    `max_attempts` holds for tasks that name no number of their own. What is None is SeedCore's default
    (SEEDCORE_RETRY_BASE_S, SEEDCORE_RETRY_MAX_S, SEEDCORE_MAX_ATTEMPTS).
    """

    base_s: float | None = None
    max_s: float | None = None
    max_attempts: int | None = None

    def __post_init__(self) -> None:
        """Hold the numbers against their bounds."""
        for name, value, most in (("base_s", self.base_s, 3600), ("max_s", self.max_s, 86_400)):
            if value is not None and not 0 < value <= most:
                raise TypeError(f"RetryPolicy: {name} must be greater than 0 and at most {most}, got {value!r}")
        if self.max_attempts is not None and not 1 <= self.max_attempts <= 100:
            raise TypeError(f"RetryPolicy: max_attempts must be 1 to 100, got {self.max_attempts!r}")


@dataclass(frozen=True, slots=True)
class SkillSpec:
    """A skill as SeedCore sees it."""

    name: str
    organ: str
    timeout_s: float | None
    description: str
    params: type[BaseModel]
    result: type[BaseModel]
    function: Callable[[Any, SkillContext], Awaitable[BaseModel]]
    retry: RetryPolicy = RetryPolicy()
    slow: bool = False


def skill(
    name: str,
    *,
    organ: str = "utility",
    timeout_s: float | None = None,
    retry: RetryPolicy | None = None,
    slow: bool = False,
) -> Callable[[Function], Function]:
    """Declare an async function as the skill `name`.

    Args:
        name: what a task names as its `type`, such as `acme.double`.
        organ: the pool of agents that runs it.
        timeout_s: seconds that one attempt may take; SEEDCORE_SKILL_TIMEOUT_S when None.
        retry: how failed attempts are tried again; SeedCore's defaults when None.
        slow: its tasks wait in the slow lane, beside those of language models, so that they hold up no quick ones.

    Raises:
        TypeError: the function is not `async`, its first parameter or its result is not a pydantic model, or an
            argument is not allowed; the text names the function.
    """

    def declare(function: Function) -> Function:
        spec = _spec(name, organ, timeout_s, function)
        setattr(function, MARK, replace(spec, retry=retry or RetryPolicy(), slow=slow))
        return function

    return declare


def _spec(name: str, organ: str, timeout_s: float | None, function: Callable[..., Awaitable[BaseModel]]) -> SkillSpec:
    where = f"skill {name!r} ({getattr(function, '__module__', '')}.{getattr(function, '__qualname__', function)})"
    if not name.isprintable() or any(c.isspace() for c in name) or not 1 <= len(name) <= 200:
        raise TypeError(f"{where}: a skill's name has 1 to 200 printable characters and no white space")
    if name == RESERVED:
        raise TypeError(f"{where}: a task of the type {RESERVED!r} asks for a plan; choose another name")
    if not ORGAN.fullmatch(organ):
        raise TypeError(f"{where}: organ {organ!r} must match {ORGAN.pattern}")
    if timeout_s is not None and not 0 < timeout_s < float("inf"):
        raise TypeError(f"{where}: timeout_s must be greater than 0 and finite")
    if not inspect.iscoroutinefunction(function):
        raise TypeError(f"{where} must be an `async def`")
    parameters = list(inspect.signature(function).parameters.values())
    if [p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters] != [True, True]:
        raise TypeError(f"{where} takes two parameters: its params and a SkillContext")
    try:
        hints = get_type_hints(function)
    except Exception as error:
        raise TypeError(f"{where}: its annotations cannot be read ({type(error).__name__}: {error})") from error
    params, result = hints.get(parameters[0].name), hints.get("return")
    for label, kind in (("first parameter", params), ("result", result)):
        if not (inspect.isclass(kind) and issubclass(kind, BaseModel)):
            raise TypeError(f"{where}: its {label} must be annotated with a pydantic model")
    assert params is not None
    assert result is not None
    summary = (inspect.getdoc(function) or "").split("\n\n")[0]
    return SkillSpec(name, organ, timeout_s, summary, params, result, function)
