"""Reads an attempt's params and turns its ending into a result or a failure, wherever the skill runs."""

import re
from typing import NamedTuple, Protocol, TypedDict, cast

from seedcore.errors import SeedCoreError
from seedcore.skills.context import SkillContext
from seedcore.skills.host_protocol import HANDED_BACK
from seedcore.skills.params_validation import InvalidParamsError, read_params
from seedcore.skills.results import encode
from seedcore.skills.skill_decorator import SkillSpec
from seedcore.tasks.failure_codes import FailureCode
from seedcore.telemetry.logs import mask

MAX_MESSAGE = 2000
_MAX_READ = 4 * MAX_MESSAGE
_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}")


_CLASS_NAME = type.__dict__["__name__"]


class WarningLog(Protocol):
    """Where a failure that SeedCore does not know is logged."""

    def warning(self, event: str, **fields: object) -> object:
        """Log a warning."""


class ProcessCall(TypedDict):
    """A call on its way to the process that runs it: the skill's function by name, and the attempt."""

    module: str
    function: str
    skill: str
    params: str
    task_id: str
    attempt: int
    token: int
    idempotency_key: str
    agent: str
    tenant: str
    traceparent: str | None


class AttemptFailure(NamedTuple):
    """Why an attempt failed."""

    code: str
    message: str
    retryable: bool = True


def attempt(spec: SkillSpec, params: str, context: SkillContext, limit: int) -> str | AttemptFailure:
    """Run a plain `def` skill in the thread or process that calls this: its result as JSON text, or why there is none.

    Nothing that the skill raises gets out: `StopIteration` in a future, for example, would leave its reader waiting.
    """
    try:
        return encode(spec, spec.function(read_params(spec, params), context), limit)
    except BaseException as error:  # noqa: BLE001 - a skill may raise anything, SystemExit and KeyboardInterrupt too
        return failure_of(error, context.logger)


def failure_of(error: BaseException, log: WarningLog) -> AttemptFailure:
    """The failure that an error is; one that SeedCore does not know is logged with its traceback.

    An exception of the skill's may itself raise whenever it is looked at (`__str__`, `detail`, `__class__`).
    """
    try:
        failure = _classified(error)
        if failure is not None:
            return failure
        failure = AttemptFailure(FailureCode.SKILL_FAILED, clean(f"{_class_name(error)}: {_text(error)}"))
    except BaseException as again:  # noqa: BLE001 - see above: this is still the failure of that attempt
        failure = AttemptFailure(
            FailureCode.SKILL_FAILED, clean(f"{_class_name(error)}: no text, {_class_name(again)} when it was read")
        )
    _report(failure, error, log)
    return failure


def _classified(error: BaseException) -> AttemptFailure | None:
    # `issubclass` asks the class; `isinstance` would ask the object, which may lie or raise.
    kind = type(error)
    if issubclass(kind, InvalidParamsError):
        return AttemptFailure(FailureCode.INVALID_PARAMS, clean(_text(error)), retryable=False)
    if not issubclass(kind, SeedCoreError):
        return None
    known = cast(SeedCoreError, error)
    code = known.code
    if type(code) is not str or not _CODE.fullmatch(code) or code in (HANDED_BACK, FailureCode.CANCELLED):
        # A skill may not use these: one means that there was no attempt, the other that a client ended the task.
        code = FailureCode.SKILL_FAILED
    return AttemptFailure(code, clean(_text(error)), retryable=bool(known.transient))


def _text(error: BaseException) -> str:
    # Of a subclass of `str` the plain text, and no more than can matter.
    return str.__getitem__(str(error), slice(0, _MAX_READ))


def _class_name(error: BaseException) -> str:
    # Past a metaclass that gives another name, or none.
    return str(_CLASS_NAME.__get__(type(error)))


def _report(failure: AttemptFailure, error: BaseException, log: WarningLog) -> None:
    try:
        log.warning("skill raised", exc_info=error)
    except BaseException as again:  # noqa: BLE001 - the traceback looks at the exception, too
        log.warning("skill raised", reason=failure.message, no_traceback=_class_name(again))


def clean(message: str) -> str:
    """A message that can be stored: without secrets, U+0000 and lone surrogates, cut to MAX_MESSAGE."""
    text = mask(message[:_MAX_READ]).encode(errors="replace").decode()
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")[:MAX_MESSAGE]
