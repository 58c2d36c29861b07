"""The skill SDK: users write a skill as a typed function with the decorator `skill`.

Three kinds of function, and where each runs:

- `async def`: in its host's event loop, next to many others. It must not block that loop.
- `def`: in a thread of its host. Blocking calls (a driver without asyncio, files) belong here.
- `def` with `process=True`: in a process of its own. Work that keeps a CPU busy belongs here.
"""

import inspect
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Literal, TypeVar, get_type_hints

from pydantic import BaseModel

from seedcore.skills.context import SkillClients, SkillContext

__all__ = ["MARK", "ORGAN", "Kind", "RetryPolicy", "SkillClients", "SkillContext", "SkillSpec", "skill"]

AnyFunction = Callable[..., Awaitable[BaseModel] | BaseModel]
Function = TypeVar("Function", bound=AnyFunction)
WarmUp = Callable[[SkillClients], Awaitable[None]]
MARK = "__seedcore_skill__"
RESERVED = "goal"
"""The task type that asks for a plan: `seedcore.tasks.model.GOAL`, which is a layer above."""

ORGAN = re.compile(r"[a-z][a-z0-9_-]{0,62}")
"""Allowed names of organs, here and in the organs file, of roles and of queues."""

CheckTime = Literal["before", "after"]
"""When a check runs: before the skill that it checks, or after it."""


class Kind(StrEnum):
    """Where a skill runs."""

    ASYNC = "async"
    THREAD = "thread"
    PROCESS = "process"


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How failed attempts of a skill are retried: after a random part of `base_s`, doubled each time up to `max_s`.

    `max_attempts` applies to tasks that set none of their own. None means SeedCore's default:
    SEEDCORE_RETRY_BASE_S, SEEDCORE_RETRY_MAX_S, SEEDCORE_MAX_ATTEMPTS.
    """

    base_s: float | None = None
    max_s: float | None = None
    max_attempts: int | None = None

    def __post_init__(self) -> None:
        """Check the numbers against their bounds."""
        for name, value, limit in (("base_s", self.base_s, 3600), ("max_s", self.max_s, 86_400)):
            if value is not None and not 0 < value <= limit:
                raise TypeError(f"RetryPolicy: {name} must be greater than 0 and at most {limit}, got {value!r}")
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
    function: Callable[[Any, SkillContext], Any]
    retry: RetryPolicy = RetryPolicy()
    slow: bool = False
    kind: Kind = Kind.ASYNC
    role: str | None = None
    approval: bool = False
    approval_s: float | None = None
    warm_up: WarmUp | None = None
    platform: bool = False
    checks: str | None = None
    when: CheckTime = "before"
    queue: str | None = None


def skill(
    name: str,
    *,
    organ: str = "utility",
    timeout_s: float | None = None,
    retry: RetryPolicy | None = None,
    slow: bool = False,
    process: bool = False,
    role: str | None = None,
    approval: bool = False,
    approval_s: float | None = None,
    warm_up: WarmUp | None = None,
    platform: bool = False,
    checks: str | None = None,
    when: CheckTime = "before",
    queue: str | None = None,
) -> Callable[[Function], Function]:
    """Declare a function as the skill `name`.

    Args:
        name: the `type` of its tasks, such as `acme.double`.
        organ: the pool of agents that runs it.
        timeout_s: seconds that one attempt may take; SEEDCORE_SKILL_TIMEOUT_S when None. Then an `async def` gets
            `asyncio.CancelledError` and a process is killed. A thread cannot be stopped from outside: the attempt ends
            and its result is discarded, but the thread's slot is lost until the function returns. A long function
            therefore checks `context.cancelled` now and then.
        retry: how failed attempts are retried; SeedCore's defaults when None.
        slow: its tasks use the slow lane, with those of language models, so that they do not delay quick ones.
        process: run a plain `def` in a process of its own, not in a thread. The function must be importable by name
            from a module's top level; params and result cross as JSON; its context has no clients and no memory.
        role: the role that an agent proves by succeeding at it; one of the roles that the organ declares.
        approval: a person must approve each of its tasks before it runs.
        approval_s: seconds that such a task waits for approval; SEEDCORE_APPROVAL_S when None.
            SEEDCORE_APPROVAL_ON_EXPIRY says what happens then.
        warm_up: an `async def` that every host of the organ runs at its start, with the clients of skills: work that
            the first task would otherwise wait for, such as loading a model. It is retried until it succeeds.
        platform: it changes what all tenants use: its tasks are submitted by who may operate the platform alone, and
            plans have no steps with it.
        checks: the name of the skill that this one checks, when work stops looking like its past: it takes that skill's
            params (`before`), or its params and results (`after`), by their names, and raises an error to say no.
        when: when a check runs: `before` that skill or `after` it.
        queue: the queue of its tasks that name none, however they are submitted; `default` when None.

    Raises:
        TypeError: the function does not fit its kind, its first parameter or its result is not a pydantic model, or an
            argument is not allowed; the text names the function.
    """

    def declare(function: Function) -> Function:
        where = f"skill {name!r} ({getattr(function, '__module__', '')}.{getattr(function, '__qualname__', function)})"
        if role is not None and not ORGAN.fullmatch(role):
            raise TypeError(f"{where}: role {role!r} must match {ORGAN.pattern}")
        if approval_s is not None and not (approval and 0 < approval_s <= 31_536_000):
            raise TypeError(f"{where}: approval_s is for approval=True, and at most a year (31536000)")
        kind = _kind(where, function, process)
        spec = _spec(where, name, organ, timeout_s, function)
        spec = replace(spec, kind=kind, retry=retry or RetryPolicy(), slow=slow, role=role)
        if warm_up is not None and not inspect.iscoroutinefunction(warm_up):
            raise TypeError(f"{where}: warm_up must be an `async def` that takes the clients")
        if checks == name or when not in ("before", "after") or (checks is None and when != "before"):
            raise TypeError(f"{where}: checks names another skill, and when is 'before' or 'after' it")
        if queue is not None and not ORGAN.fullmatch(queue):
            raise TypeError(f"{where}: queue {queue!r} must match {ORGAN.pattern}")
        spec = replace(spec, approval=approval, approval_s=approval_s, warm_up=warm_up, platform=platform)
        setattr(function, MARK, replace(spec, checks=checks, when=when, queue=queue))
        return function

    return declare


def _kind(where: str, function: AnyFunction, process: bool) -> Kind:
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{where} must be an `async def` or a `def` that returns its result: it is a generator")
    if inspect.iscoroutinefunction(function):
        if process:
            raise TypeError(f"{where}: process=True is for a plain `def`, and this one is an `async def`")
        return Kind.ASYNC
    if not inspect.isfunction(function):  # a class, an object that can be called
        raise TypeError(f"{where} must be an `async def` or a `def`")
    if process and "." in function.__qualname__:
        raise TypeError(f"{where}: process=True needs a function at its module's top level, to import it there")
    return Kind.PROCESS if process else Kind.THREAD


def _spec(where: str, name: str, organ: str, timeout_s: float | None, function: AnyFunction) -> SkillSpec:
    if not name.isprintable() or any(c.isspace() for c in name) or not 1 <= len(name) <= 200:
        raise TypeError(f"{where}: a skill's name has 1 to 200 printable characters and no white space")
    if name == RESERVED:
        raise TypeError(f"{where}: a task of the type {RESERVED!r} asks for a plan; choose another name")
    if not ORGAN.fullmatch(organ):
        raise TypeError(f"{where}: organ {organ!r} must match {ORGAN.pattern}")
    if timeout_s is not None and not 0 < timeout_s < float("inf"):
        raise TypeError(f"{where}: timeout_s must be greater than 0 and finite")
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
