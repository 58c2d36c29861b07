"""Makes a model of a request: checks it, trains, and writes down what is known about the result."""

import io
import threading
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

import seedcore
from seedcore.errors import FieldError, InvalidInputError
from seedcore.ml.data.dataset import Table
from seedcore.ml.data.training_data import TrainingData
from seedcore.ml.registry.model_manifest import Lineage, ModelManifest
from seedcore.ml.training.train import TrainedModel, TrainingOptions, train
from seedcore.ml.training.xgboost_params import resolve_params
from seedcore.schemas.ml.models import TrainRequest


def train_request(
    request: TrainRequest,
    data: TrainingData,
    stop: threading.Event,
    options: TrainingOptions = TrainingOptions(),  # noqa: B008 - frozen
    job_id: str | None = None,
) -> tuple[ModelManifest, TrainedModel]:
    """Train on `data`; (manifest without version and checksum, model).

    Args:
        options: the request's device and early stopping are put in.
        job_id: the task that trains.

    Raises:
        InvalidInputError: names the parameters, columns or cells that are wrong.
        NotConfiguredError: the device is not there.
        DeadlineError: `stop` was set.
    """
    params = resolve_params(request.params)
    check_slices(request, data.table)
    options = replace(options, device=request.device, early_stopping=request.early_stopping_rounds)
    trained = train(data.table, params, stop, options)
    return draft(request, data, trained, job_id), trained


def draft(request: TrainRequest, data: TrainingData, trained: TrainedModel, job_id: str | None = None) -> ModelManifest:
    """What is known about a trained model before it has a version."""
    import xgboost

    table = data.table
    return ModelManifest(
        name=request.name,
        version=0,
        created_at=datetime.now(UTC),
        task=trained.task,
        features=list(table.columns),
        label_column=table.label_column,
        label_kind=table.label_kind,
        labels=list(table.labels),
        params=trained.params,
        metrics=trained.metrics,
        n_rows=len(table.targets),
        sha256="",
        size_bytes=0,
        xgboost_version=xgboost.__version__,
        columns=list(table.schema),
        intervals=trained.intervals,
        importance=trained.importance,
        slices=request.slices,
        outcome=request.outcome,
        loss_scale=trained.loss_scale,
        reference=len(trained.reference),
        training_time_s=trained.seconds,
        lineage=Lineage(
            source=data.source,
            data_sha256=table.digest(),
            query=data.query,
            code_version=seedcore.__version__,
            parent=request.parent,
            job_id=job_id,
        ),
    )


def reference_file(trained: TrainedModel) -> bytes:
    """The reference rows as an npz file; `numpy.load(…, allow_pickle=False)["features"]` reads it."""
    content = io.BytesIO()
    np.savez_compressed(content, features=trained.reference)
    return content.getvalue()


def check_slices(request: TrainRequest, table: Table) -> None:
    """Check what the gate will judge apart, and by what.

    Raises:
        InvalidInputError: a slice is no feature of categories or booleans, or success needs boolean labels.
    """
    kinds = {column.name: column.type for column in table.schema}
    wrong = [
        FieldError(
            f"slices.{name}",
            "is no feature"
            if name not in kinds
            else "is a column of numbers; name it in category_columns to judge its values apart",
        )
        for name in request.slices
        if kinds.get(name, "number") == "number"
    ]
    if request.outcome == "success" and table.label_kind != "boolean":
        wrong.append(FieldError("outcome", f"`success` is for boolean labels, these are {table.label_kind}"))
    if wrong:
        raise InvalidInputError.for_fields(wrong)
