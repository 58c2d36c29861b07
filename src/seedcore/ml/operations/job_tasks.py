"""What operations that submit jobs share: their limit, and how rows that do not fit into a task are refused."""

from collections.abc import Mapping

from seedcore.errors import FieldError, TooLargeError
from seedcore.schemas.ml.models import TrainRequest
from seedcore.settings import Settings
from seedcore.tasks.submission.tenancy import Origin
from seedcore.tasks.submission.validate import Submission

JOBS_LIMIT = "ml-jobs"
"""The limit's key that jobs of ML share."""


def jobs_limit(settings: Settings) -> dict[str, object]:
    """The limit of a job, as a task states it."""
    return {"key": JOBS_LIMIT, "max_running": settings.model_jobs}


def check_job(submission: Submission, fields: Mapping[str, object], origin: Origin, request: TrainRequest) -> None:
    """Check a task whose parameters are `request`.

    Raises:
        TooLargeError: its rows do not fit; the message names uploads.
        InvalidInputError: the task is wrong in another way.
    """
    try:
        submission.check(fields, origin)
    except TooLargeError as error:
        message = (
            f"The rows do not fit into a task ({error.extra.get('limit')} bytes, SEEDCORE_MAX_PARAMS_BYTES): "
            "upload them with `PUT /ml/datasets/{file}`, and name the file as `data_source`."
        )
        field = "rows" if request.rows is not None else "dataset"
        raise TooLargeError(message, errors=[FieldError(field, message)], **error.extra) from None
