"""Validate submissions against model, skills and limits, then store them; all is checked before anything is written."""

import json
import time
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import cast

import asyncpg
import orjson
from pydantic import ValidationError

from seedcore.errors import FieldError, InvalidInputError, PlatformOnlyError, TooLargeError, wrong_fields
from seedcore.llm.model_errors import LlmNotConfiguredError
from seedcore.llm.upstream import missing_upstream
from seedcore.settings import Settings
from seedcore.skills.registry import SkillRegistry
from seedcore.skills.signatures import signatures
from seedcore.tasks.model import DEFAULT_QUEUE, GOAL, Limit, Submitted, TaskSpec
from seedcore.tasks.plans.free_text import is_free_text
from seedcore.tasks.plans.plan_options import OTHERS, read_goal
from seedcore.tasks.submission.accept_span import begin_accept
from seedcore.tasks.submission.submit import submit
from seedcore.tasks.submission.task_request import TaskIn
from seedcore.tasks.submission.tenancy import HERE, Origin
from seedcore.utils.pg_json import unfit

MAX_REPORTED = 100


class Submission:
    """Checks tasks against the skills and the limits, then stores them. One for each process."""

    def __init__(self, settings: Settings, skills: SkillRegistry) -> None:
        self._settings = settings
        self._skills = skills

    async def one(
        self, connection: asyncpg.Connection, fields: Mapping[str, object], origin: Origin = HERE
    ) -> tuple[TaskSpec, Submitted]:
        """Submit one task; returns it as it was checked, and the answer.

        Raises:
            InvalidInputError: names the field and what is allowed.
            TooLargeError: its params are over the limit.
            ConflictError: its key was used with other params.
        """
        began_ns = time.time_ns()
        task = self.check(fields, origin)
        return task, (await _store(connection, [task], began_ns))[0]

    async def many(
        self, connection: asyncpg.Connection, items: Sequence[Mapping[str, object]], origin: Origin = HERE
    ) -> list[Submitted]:
        """Submit a batch, all or none; errors name `tasks.N.field`.

        Raises:
            InvalidInputError: see `one`.
            LlmNotConfiguredError: all that is wrong is that no language model can read goals in free text.
            TooLargeError: the batch, or the params of a task, are over the limit.
            ConflictError: a key was used with other params.
        """
        if len(items) > self._settings.max_batch_tasks:
            limit = self._settings.max_batch_tasks
            message = f"at most {limit} tasks in a batch (SEEDCORE_MAX_BATCH_TASKS), got {len(items)}"
            raise TooLargeError(message, errors=[FieldError("tasks", message)], limit=limit)
        tasks: list[TaskSpec] = []
        began_ns = time.time_ns()
        wrong: list[FieldError] = []
        unread: list[str] = []
        for n, item in enumerate(items):
            try:
                tasks.append(self.check(item, origin))
            except LlmNotConfiguredError as error:
                unread.append(error.detail)
                wrong += _below(n, error.errors)
            except InvalidInputError as error:
                wrong += _below(n, error.errors)
            except TooLargeError as error:
                found = _below(n, error.errors)
                raise TooLargeError(f"tasks.{n}.{error.detail}", errors=found, **error.extra) from None
        if wrong:
            if len(unread) == len(wrong):
                raise LlmNotConfiguredError(f"{unread[0]} Nothing was stored.", errors=wrong[:MAX_REPORTED])
            detail = f"{len(wrong)} fields are wrong, first {wrong[0].field}: {wrong[0].message}. Nothing was stored."
            raise InvalidInputError(detail, errors=wrong[:MAX_REPORTED])
        return await _store(connection, tasks, began_ns)

    def check(self, fields: Mapping[str, object], origin: Origin = HERE) -> TaskSpec:
        """Check one task against model, skill and limits; see `one` for what it raises."""
        try:
            given = TaskIn.model_validate(fields)
        except ValidationError as error:
            wrong = wrong_fields(error.errors(include_url=False, include_input=False))
            raise InvalidInputError.for_fields(wrong) from None
        params = self._encode(given.params)
        slow, max_attempts, queue = True, None, None
        if given.type == GOAL:
            self._check_goal(given.params)
        else:
            spec = self._skills.check(given.type, given.params)
            if spec.platform and not origin.operates:
                raise PlatformOnlyError(f"{spec.name} changes what all tenants use: your key may not submit it.")
            slow, max_attempts, queue = spec.slow, spec.retry.max_attempts, spec.queue
        first, limits = _limits(given)
        return TaskSpec(
            type=given.type,
            params=params,
            queue=given.queue or queue or DEFAULT_QUEUE,
            domain=given.domain,
            priority=given.priority or 0,
            max_attempts=given.max_attempts or max_attempts or self._settings.max_attempts,
            timeout_s=given.timeout_s,
            run_after=given.run_after,
            idempotency_key=given.idempotency_key,
            idempotency_period_s=given.idempotency_period_s,
            slow=slow,
            deadline=given.deadline,
            limit=first,
            limits=limits,
            tenant=origin.tenant,
            traceparent=origin.traceparent,
            by=origin.by,
        )

    def _check_goal(self, params: Mapping[str, object]) -> None:
        policy, _ = read_goal(params, self._settings)
        self._check_text(params)
        if unknown := sorted(policy.keys() - self._skills.keys() - {OTHERS}):
            field = FieldError(f"params.on_failure.{unknown[0]}", "no such skill")
            raise InvalidInputError.for_fields([field])

    def _check_text(self, params: Mapping[str, object]) -> None:
        """Refuse free text where no language model could read it."""
        goal, inputs = cast("str | list[str]", params["goal"]), cast("dict[str, object]", params.get("inputs", {}))
        if not is_free_text(goal, inputs, {}) or (why := missing_upstream(self._settings)) is None:
            return
        # A name may have spaces in it, too.
        if is_free_text(goal, inputs, signatures(self._skills.values())):
            raise LlmNotConfiguredError(
                f"A goal in free text needs a language model. {why} Or name output fields or skills.",
                errors=[FieldError("params.goal", "must name fields or skills while there is no language model")],
            )

    def _encode(self, params: Mapping[str, object]) -> str:
        try:
            text = orjson.dumps(params)
            if b"null" in text:
                # orjson writes NaN and infinities as null: that would change what the client sent.
                _FINITE.encode(params)
        except (TypeError, ValueError, RecursionError) as error:
            raise _unfit(f"cannot be written as JSON: {error}") from None
        limit = self._settings.max_params_bytes
        if len(text) > limit:
            message = f"{len(text)} bytes, at most {limit} are allowed (SEEDCORE_MAX_PARAMS_BYTES)"
            raise TooLargeError(f"params: {message}", errors=[FieldError("params", message)], limit=limit)
        decoded = text.decode()
        if (reason := unfit(decoded)) is not None:
            raise _unfit(reason)
        return decoded


async def _store(connection: asyncpg.Connection, tasks: Sequence[TaskSpec], began_ns: int) -> list[Submitted]:
    span = begin_accept(tasks, began_ns)
    submitted = await submit(connection, tasks)
    if span is not None:
        span.end(submitted)
    return submitted


_FINITE = json.JSONEncoder(allow_nan=False, ensure_ascii=False, check_circular=False)


def _limits(given: TaskIn) -> tuple[Limit | None, tuple[Limit, ...]]:
    """The first limit by key, and all of them when there are several or one has a cost other than 1."""
    some = given.limits if given.limits is not None else [given.limit] if given.limit is not None else []
    limits = [Limit(n.key, n.max_running, n.rate_per_s, n.burst, 1.0 if n.cost is None else n.cost) for n in some]
    limits.sort(key=attrgetter("key"))
    if not limits:
        return None, ()
    return limits[0], () if len(limits) == 1 and limits[0].cost == 1 else tuple(limits)


def _unfit(message: str) -> InvalidInputError:
    return InvalidInputError.for_field("params", message)


def _below(n: int, found: Sequence[FieldError]) -> list[FieldError]:
    return [FieldError(f"tasks.{n}.{e.field}", e.message) for e in found]
