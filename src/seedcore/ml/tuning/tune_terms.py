"""What a request for tuning asks for, resolved: the space, the effort, and parameters that stay as they are."""

from collections.abc import Mapping
from dataclasses import dataclass

from seedcore.errors import FieldError, InvalidInputError
from seedcore.ml.training.xgboost_params import SYNONYMS, resolve_params
from seedcore.ml.tuning.search_plan import SearchPlan
from seedcore.ml.tuning.search_space import Dimension, preset_of, read_space
from seedcore.ml.tuning.trial_record import MAXIMIZED, TrialRecord, metric_for
from seedcore.schemas.ml.models import Task, TrainRequest
from seedcore.schemas.ml.tuning import TuneRequest


@dataclass(frozen=True, slots=True)
class TuneTerms:
    """The terms of a search, before its data has been read."""

    dimensions: tuple[Dimension, ...]
    fixed: dict[str, float | int]
    trials: int
    rounds: int


def read_terms(request: TuneRequest) -> TuneTerms:
    """The terms of a request.

    Raises:
        InvalidInputError: names each wrong field.
    """
    wrong = [
        FieldError(f"params.{key}", "is not set for a search: give `rounds`")
        for key in request.params
        if SYNONYMS.get(key, key) == "num_boost_round"
    ]
    if wrong:
        raise InvalidInputError.for_fields(wrong)
    seed = {} if _names_seed(request.params) else {"seed": request.seed}
    params = resolve_params({**request.params, **seed})
    dimensions = read_space(request.space, request.params)
    if request.effort is not None:
        effort = preset_of(request.effort, "effort")
    else:
        effort = preset_of(request.space if isinstance(request.space, str) else "default", "space")
    searched = {dimension.name for dimension in dimensions} | {"num_boost_round"}
    fixed = {name: value for name, value in params.items() if name not in searched}
    return TuneTerms(dimensions, fixed, request.trials or effort.trials, request.rounds or effort.rounds)


def _names_seed(params: Mapping[str, object]) -> bool:
    return any(SYNONYMS.get(key, key) == "seed" for key in params)


def plan_of(
    request: TuneRequest, terms: TuneTerms, task: Task, past: tuple[TrialRecord, ...], trial_cpus: float
) -> SearchPlan:
    """The search on data of the kind `task`, after what earlier attempts have seen.

    Raises:
        InvalidInputError: the metric is not one of that kind.
    """
    metric = metric_for(task, request.metric)
    return SearchPlan(
        dimensions=terms.dimensions,
        fixed=terms.fixed,
        rounds=terms.rounds,
        trials=terms.trials,
        parallel=request.parallel,
        metric=metric,
        maximize=metric in MAXIMIZED,
        seed=request.seed,
        prune=request.prune,
        time_limit_s=request.time_limit_s,
        trial_cpus=trial_cpus,
        past=past,
    )


def train_request_of(request: TuneRequest, params: Mapping[str, object]) -> TrainRequest:
    """The request that trains the model with the parameters that a search found."""
    fields = {name: getattr(request, name) for name in TrainRequest.model_fields}
    return TrainRequest.model_construct(**fields | {"params": dict(params)})
