"""How an attempt at a skill begins and ends, wherever it runs: params in, a result or a failure out."""

from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from seedcore.errors import SeedCoreError, SkillError, wrong_fields
from seedcore.skills.sdk import SkillSpec
from seedcore.utils.jsontext import unfit
from seedcore.utils.logs import mask

MAX_MESSAGE = 2000


class UnfitError(Exception):
    """The params do not fit the skill's model."""


class TooSlowError(Exception):
    """The skill's time limit has passed."""


class Failure(NamedTuple):
    """Why an attempt failed; `foreseen` failures need no traceback in the log."""

    code: str
    message: str
    retryable: bool
    foreseen: bool = True


class ToldError(Exception):
    """A failure that somebody else has made out, such as the process that the skill ran in."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def read_params(spec: SkillSpec, text: str) -> BaseModel:
    """The params of a call.

    Raises:
        UnfitError: names the fields that do not fit.
    """
    try:
        return spec.params.model_validate_json(text)
    except ValidationError as error:
        wrong = wrong_fields(error.errors(include_url=False, include_input=False))
        raise UnfitError("; ".join(f"{e.field}: {e.message}" for e in wrong[:5])) from None


def encode(spec: SkillSpec, result: Any, limit: int) -> str:
    """A skill's result as JSON text of at most `limit` bytes.

    Raises:
        SkillError: it is not what the skill declares, too large, or nothing that PostgreSQL can keep.
    """
    if not isinstance(result, spec.result):
        expected, got = spec.result.__name__, type(result).__name__
        raise SkillError(f"the skill returned {got}, declared is {expected}", retryable=False)
    text: str = result.model_dump_json()
    # A character takes 1 to 4 bytes: most results need no second copy to be measured.
    if len(text) * 4 > limit and len(text.encode()) > limit:
        raise SkillError(f"the result is larger than {limit} bytes (SEEDCORE_MAX_RESULT_BYTES)", retryable=False)
    if (reason := unfit(text)) is not None:
        raise SkillError(f"the result {reason}", retryable=False)
    return text


def failure_of(error: BaseException) -> Failure:
    """What to tell of an error that ended an attempt."""
    match error:
        case ToldError():
            return error.failure
        case UnfitError():
            return Failure("invalid_params", str(error), retryable=False)
        case TooSlowError():
            return Failure("skill_timeout", str(error), retryable=True)
        case SeedCoreError():
            return Failure(error.code, error.detail, retryable=error.transient)
    return Failure("skill_failed", f"{type(error).__name__}: {error}", retryable=True, foreseen=False)


def clean(message: str) -> str:
    """A message as it may be stored: without secrets and U+0000, cut to MAX_MESSAGE."""
    return mask(message).replace("\0", "\N{REPLACEMENT CHARACTER}")[:MAX_MESSAGE]
