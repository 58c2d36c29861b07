"""What the operations of the ML service share: the model folder, the database, loaded models."""

from dataclasses import dataclass

from seedcore.memory.working.working_memory import WorkingMemory
from seedcore.ml.predicting.predictor import Predictor
from seedcore.ml.registry.aliases import AliasCache
from seedcore.ml.registry.model_store import ModelStore
from seedcore.settings import Settings
from seedcore.stores.postgres import Database
from seedcore.tasks.submission.validate import Submission


@dataclass(frozen=True, slots=True)
class MLParts:
    """The parts of one replica; connections are opened by the first request that needs one."""

    settings: Settings
    store: ModelStore
    predictor: Predictor
    aliases: AliasCache
    database: Database
    submission: Submission
    working: WorkingMemory
