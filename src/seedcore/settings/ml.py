"""Settings of ML: where models are kept, the size of training sets, and how long arrivals are kept."""

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AliasChoices, Field

from seedcore.settings.base import ABSOLUTE, SettingsGroup


class MlSettings(SettingsGroup):
    """ML: where models are kept, and the size of training sets."""

    title: ClassVar[str] = "ML"

    xgb_storage_path: Annotated[Path | None, ABSOLUTE] = Field(
        None,
        validation_alias=AliasChoices("XGB_STORAGE_PATH"),
        description="Folder of the models; unset: `models` in the data directory.",
    )
    max_train_rows: int = Field(
        1_000_000,
        ge=1,
        validation_alias=AliasChoices("SEEDCORE_MAX_TRAIN_ROWS"),
        description="Maximum of rows in one training set.",
    )
    max_train_bytes: int = Field(
        2 * 1024**3,
        ge=1024**2,
        validation_alias=AliasChoices("SEEDCORE_MAX_TRAIN_BYTES"),
        description="Most memory that one training may need, by estimate: 16 bytes a value, and 32 a row.",
    )
    max_dataset_bytes: int = Field(
        256 * 1024**2,
        ge=1024,
        validation_alias=AliasChoices("SEEDCORE_MAX_DATASET_BYTES"),
        description="Largest file of a training set, uploaded or not.",
    )
    max_datasets_bytes: int = Field(
        10 * 1024**3,
        ge=1024,
        validation_alias=AliasChoices("SEEDCORE_MAX_DATASETS_BYTES"),
        description="Largest sum of all files of training sets; an upload over it is refused.",
    )
    history_query_s: float = Field(
        30.0,
        gt=0,
        le=3600,
        validation_alias=AliasChoices("SEEDCORE_HISTORY_QUERY_S"),
        description="Longest time that a query over `seedcore.history` may take, with reading its rows.",
    )
    model_jobs: int = Field(
        2,
        ge=1,
        le=1000,
        validation_alias=AliasChoices("SEEDCORE_MODEL_JOBS"),
        description="Most jobs of models that run at once in the whole system: the limit `ml-jobs` gets it with each "
        "training that is submitted.",
    )
    arrivals_kept_s: float = Field(
        28 * 86_400.0,
        ge=3600,
        le=366 * 86_400,
        validation_alias=AliasChoices("SEEDCORE_ARRIVALS_KEPT_S"),
        description="Time that counts of arrived tasks are kept, for forecasts; a week's pattern needs four weeks.",
    )
    model_cache_bytes: int = Field(
        268_435_456,
        ge=1,
        validation_alias=AliasChoices("SEEDCORE_MODEL_CACHE_BYTES"),
        description="Memory for loaded models, in each worker that predicts and in each replica of the ML service.",
    )
    gate_alpha: float = Field(
        0.05,
        gt=0,
        le=0.5,
        validation_alias=AliasChoices("SEEDCORE_GATE_ALPHA"),
        description="Chance at most that the gate promotes a candidate that gains nothing, however often it looks.",
    )
    gate_margin: float = Field(
        0.0,
        ge=0,
        lt=1,
        validation_alias=AliasChoices("SEEDCORE_GATE_MARGIN"),
        description="Gain of mean loss that a promotion needs; 0.01 is one point of accuracy.",
    )
    gate_min_outcomes: int = Field(
        100,
        ge=10,
        le=1_000_000,
        validation_alias=AliasChoices("SEEDCORE_GATE_MIN_OUTCOMES"),
        description="Outcomes before which the gate decides nothing.",
    )
    gate_max_outcomes: int = Field(
        20_000,
        ge=10,
        le=1_000_000,
        validation_alias=AliasChoices("SEEDCORE_GATE_MAX_OUTCOMES"),
        description="Outcomes after which a candidate that has not shown a gain is refused.",
    )
    gate_calibration_margin: float = Field(
        0.02,
        ge=0,
        le=1,
        validation_alias=AliasChoices("SEEDCORE_GATE_CALIBRATION_MARGIN"),
        description="How much worse the candidate's Brier score may be than the champion's.",
    )
    gate_latency_ratio: float = Field(
        2.0,
        ge=1,
        le=1_000,
        validation_alias=AliasChoices("SEEDCORE_GATE_LATENCY_RATIO"),
        description="The candidate's 95th percentile of seconds as a multiple of the champion's; 1 ms more is fine.",
    )
    gate_watch_s: float = Field(
        3_600.0,
        ge=0,
        le=30 * 86_400,
        validation_alias=AliasChoices("SEEDCORE_GATE_WATCH_S"),
        description="Seconds after a promotion within which the gate takes it back by itself; 0: never.",
    )
    gate_watch_margin: float = Field(
        0.05,
        ge=0,
        lt=1,
        validation_alias=AliasChoices("SEEDCORE_GATE_WATCH_MARGIN"),
        description="Mean loss over what was known of it before its promotion that a new champion may have.",
    )
    gate_watch_arl: float = Field(
        100_000.0,
        ge=100,
        le=1e9,
        validation_alias=AliasChoices("SEEDCORE_GATE_WATCH_ARL"),
        description="Outcomes between false alarms of the watch, at least.",
    )
    predictions_kept: int = Field(
        100_000,
        ge=1_000,
        le=100_000_000,
        validation_alias=AliasChoices("SEEDCORE_PREDICTIONS_KEPT"),
        description="Recorded predictions, and outcomes, that are kept of each model's name.",
    )
    predictions_retention_s: float = Field(
        30 * 86_400.0,
        ge=60,
        le=3_650 * 86_400,
        validation_alias=AliasChoices("SEEDCORE_PREDICTIONS_RETENTION_S"),
        description="Seconds for which recorded predictions and outcomes are kept.",
    )
    tune_trial_cpus: float = Field(
        0.5,
        gt=0,
        le=1,
        validation_alias=AliasChoices("SEEDCORE_TUNE_TRIAL_CPUS"),
        description="CPUs that Ray reserves for a trial of tuning, which trains in one thread.",
    )
    tune_wait_s: float = Field(
        120.0,
        gt=0,
        le=86_400,
        validation_alias=AliasChoices("SEEDCORE_TUNE_WAIT_S"),
        description="Longest wait of a tuning job for the CPUs of a first trial; then its attempt fails.",
    )
