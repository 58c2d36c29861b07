"""What a search does beside its trials: it reads the data before, and trains and stores the model after."""

import threading

from seedcore.ml.data.training_data import TrainingData
from seedcore.ml.registry.model_manifest import ModelManifest
from seedcore.ml.registry.model_store import ModelStore
from seedcore.ml.training.model_draft import check_slices
from seedcore.ml.training.train_job import read_blocking, train_and_store
from seedcore.ml.tuning.trial_booster import TrialData, trial_data
from seedcore.ml.tuning.tune_terms import read_terms, train_request_of
from seedcore.schemas.ml.tuning import TuneRequest
from seedcore.settings import Settings


class TuningWork:
    """The heavy steps of one job; each blocks, and belongs into a process away from serving.

    Args:
        request: what is asked for.
        job_id: the task; the stored version names it in its lineage.
        tenant: whose history and predictions may be read.
        settings: limits, and where data and models are.
    """

    def __init__(self, request: TuneRequest, job_id: str, tenant: str, settings: Settings) -> None:
        self._request, self._job_id, self._tenant, self._settings = request, job_id, tenant, settings
        self._data: TrainingData | None = None

    def load(self) -> TrialData:
        """Read the data and divide it for trials; see `read_data` for what it raises."""
        self._data = read_blocking(self._request, self._settings, self._tenant)
        check_slices(self._request, self._data.table)
        return trial_data(self._data.table, int(read_terms(self._request).fixed["seed"]))

    def train(self, params: dict[str, float | int]) -> ModelManifest:
        """Train with the parameters that were found, measure on rows that the search never saw, and store."""
        assert self._data is not None
        request = train_request_of(self._request, params)
        store = ModelStore(self._settings.models_dir)
        return train_and_store(request, self._data, store, threading.Event(), job_id=self._job_id)
