"""Validates a skill's params against its model, and reports pydantic's errors by field.

`validate_params` takes the values of a task before it is stored, `read_params` the JSON text of an attempt.
"""

from pydantic import BaseModel, ValidationError

from seedcore.errors import InvalidInputError, wrong_fields
from seedcore.skills.skill_decorator import SkillSpec
from seedcore.utils.pg_json import with_doubles


class InvalidParamsError(InvalidInputError):
    """The params do not fit the skill's model; `errors` names the fields below `params`."""


def validate_params(spec: SkillSpec, params: object) -> BaseModel:
    """The params as an instance of the skill's model.

    Raises:
        InvalidParamsError: names the fields that do not fit, or `params` when the model itself fails.
    """
    try:
        return spec.params.model_validate(params)
    except ValidationError as error:
        raise _invalid(spec, error) from None
    except Exception as error:
        # A validator of the skill's model may raise anything.
        message = f"the model of the skill {spec.name!r} cannot check them: it raised {type(error).__name__}"
        raise InvalidParamsError.for_field("params", message) from error


def read_params(spec: SkillSpec, text: str) -> BaseModel:
    """The params in a stored task's JSON text. Other exceptions of a validator pass through and fail the attempt.

    Raises:
        InvalidParamsError: names the fields that do not fit.
    """
    try:
        return spec.params.model_validate_json(with_doubles(text))
    except ValidationError as error:
        raise _invalid(spec, error) from None


def _invalid(spec: SkillSpec, error: ValidationError) -> InvalidParamsError:
    fields = wrong_fields(error.errors(include_url=False, include_input=False), "params")
    return InvalidParamsError.for_fields(fields, f"params do not fit the skill {spec.name!r}: ")
