"""Settings of ML: where models are kept, and the size of training sets."""

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
