"""Encodes a skill's result as JSON text, under the same rules as params."""

from collections import deque
from collections.abc import Mapping
from math import isfinite

from pydantic import BaseModel

from seedcore.errors import SkillError
from seedcore.skills.skill_decorator import SkillSpec
from seedcore.utils.pg_json import unfit


def encode(spec: SkillSpec, result: object, limit: int) -> str:
    """A skill's result as JSON text of at most `limit` bytes.

    Raises:
        SkillError: it is not of the declared model, too large, not JSON, or would not be read back unchanged. Not
            retryable, because another attempt would give the same.
    """
    if not isinstance(result, spec.result):
        raise _refused(f"the skill returned {type(result).__name__}, declared is {spec.result.__name__}")
    try:
        text = result.model_dump_json()
    except (ValueError, RecursionError) as error:  # pydantic's own error is a ValueError
        raise _refused(f"the result cannot be written as JSON: {error}") from error
    # A character takes 1 to 4 bytes, so most results need not be encoded to be measured.
    if len(text) * 4 > limit and len(text.encode()) > limit:
        raise _refused(f"the result is larger than {limit} bytes (SEEDCORE_MAX_RESULT_BYTES)")
    if (reason := unfit(text)) is not None:
        raise _refused(f"the result {reason}")
    if _may_be_infinite(result, text) and not _finite(result.model_dump(warnings=False)):
        raise _refused("the result holds a number that is not finite (NaN or an infinity), which JSON does not have")
    return text


def _refused(message: str) -> SkillError:
    return SkillError(message, retryable=False)


def _may_be_infinite(result: BaseModel, text: str) -> bool:
    # Pydantic writes such numbers as null or, by `ser_json_inf_nan`, as constants; with "strings" the model wants text.
    if result.model_config.get("ser_json_inf_nan") == "strings":
        return False
    return "null" in text or "NaN" in text or "Infinity" in text


def _finite(value: object) -> bool:
    if isinstance(value, float):
        return isfinite(value)
    if isinstance(value, Mapping):
        return all(map(_finite, value.values()))
    return not isinstance(value, list | tuple | set | frozenset | deque) or all(map(_finite, value))
