"""Models of tuning: a search over parameters, its jobs and their trials."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from seedcore.schemas.ml.models import ModelName, TrainRequest

MAX_TRIALS = 500
MAX_PARALLEL = 32
MAX_ROUNDS = 5000

SpaceDimension = dict[str, object]
# Names that clients of other releases use.
_RENAMED = {"space_type": "space", "config_type": "effort", "experiment_name": "name"}


class TuneRequest(TrainRequest):
    """A training set and the terms of a search over XGBoost's parameters.

    `params` are the same in all trials. `space_type` is also read as `space`, `config_type` as `effort` and
    `experiment_name` as `name`.
    """

    space: str | dict[str, SpaceDimension] = Field(
        "default",
        description="A preset (`quick`, `default`, `wide`), or {parameter: {type: float | int, low, high, log?}} and "
        "{parameter: {type: choice, choices}}.",
    )
    effort: str | None = Field(
        None,
        description="The preset whose trials and rounds count where they are not given; else that of `space`.",
    )
    trials: int | None = Field(None, ge=1, le=MAX_TRIALS, description="By default the preset's.")
    parallel: int = Field(2, ge=1, le=MAX_PARALLEL, description="Trials at once, at most; each needs its CPUs of Ray.")
    rounds: int | None = Field(
        None, ge=1, le=MAX_ROUNDS, description="Boosting rounds of a trial that is not pruned; by default the preset's."
    )
    metric: Literal["logloss", "accuracy", "auc", "rmse", "mae", "r2"] | None = Field(
        None, description="What the search optimizes; by default `logloss`, for regression `rmse`."
    )
    seed: int = Field(0, ge=0, le=2**31 - 1, description="Of the search, and of the split unless `params` have one.")
    prune: bool = Field(True, description="Whether ASHA ends trials that are behind.")
    time_limit_s: float = Field(
        600.0, ge=1, le=86_400, allow_inf_nan=False, description="Trials of one attempt end after that time."
    )

    @model_validator(mode="before")
    @classmethod
    def _renamed(cls, given: object) -> object:
        if not isinstance(given, Mapping):
            return given
        fields = dict(given)
        for old, new in _RENAMED.items():
            if old in fields:
                if fields.get(new) is not None:
                    raise ValueError(f"{old} means {new}, which is also given; give one of them")
                fields[new] = fields.pop(old)
        return fields

    @field_validator("early_stopping_rounds")
    @classmethod
    def _no_early_stopping(cls, given: int | None) -> int | None:
        if given is not None:
            raise ValueError("does not go with a search, which finds the number of rounds itself")
        return given


class TuneTrial(BaseModel):
    """One trial; `scores` are [rounds, score], measured on the validation rows. `best` marks the best of the job."""

    trial: str
    params: dict[str, float | int]
    status: Literal["running", "pruned", "completed", "failed", "stopped"]
    scores: list[tuple[int, float]]
    best: bool = False


class BestScore(BaseModel):
    """The best score so far."""

    trial: str
    score: float
    rounds: int
    params: dict[str, float | int]


class TuneProgress(BaseModel):
    """Trials that have ended, and how many there are to be."""

    done: int
    total: int
    best: BestScore | None = None
    note: str | None = Field(None, description="What a running job is at, or waits for.")


class TuneResult(BaseModel):
    """The stored model, and how the search went.

    `score` is of validation rows, which chose the parameters: it flatters. `held_out` are metrics on rows that the
    search never saw, with 95 % intervals in `intervals`.
    """

    name: str
    version: int
    metric: str
    score: float
    rounds: int
    params: dict[str, float | int]
    held_out: dict[str, float]
    intervals: dict[str, tuple[float, float]] = {}
    completed: int
    pruned: int
    failed: int
    timed_out: bool = Field(description="The time limit ended the search before all trials had ended.")
    promotion: Literal["candidate", "shadowing", "promoted", "refused"] = Field(
        description="`candidate`: the alias alone, as there is no champion; else what the gate said."
    )


class TuneStatus(BaseModel):
    """A tuning job; `status` is its task's."""

    job_id: str
    name: str
    status: str
    progress: TuneProgress
    result: TuneResult | None = None
    error: dict[str, str | None] | None = None
    trials: list[TuneTrial]
    metric: str | None = Field(None, description="What the search optimizes; null until that is known.")


class TuneJob(BaseModel):
    """A tuning job, in a list."""

    job_id: str
    name: str
    status: str
    progress: TuneProgress
    created_at: datetime
    finished_at: datetime | None


class TuneJobsQuery(BaseModel):
    """Which jobs to list."""

    model_config = ConfigDict(extra="forbid")

    name: ModelName | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class TuneJobs(BaseModel):
    """Tuning jobs, the newest first."""

    jobs: list[TuneJob]
