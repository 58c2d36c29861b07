"""Every setting of SeedCore, in one validated class; nothing else reads the environment.

Each group of settings has a module of its own. `docs/configuration.md` is generated from them (`seedcore config docs`),
and a test holds the two equal.
"""

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from seedcore.errors import FieldError, SettingsError
from seedcore.settings.base import SettingsGroup, given_variable, variables_of
from seedcore.settings.cognitive import CognitiveSettings
from seedcore.settings.coordinator import CoordinatorSettings
from seedcore.settings.energy import EnergySettings
from seedcore.settings.graph import GraphSettings
from seedcore.settings.http import HttpSettings
from seedcore.settings.llm import EmbeddingSettings, LlmSettings
from seedcore.settings.memory import MemorySettings
from seedcore.settings.ml import MlSettings
from seedcore.settings.organism import OrganismSettings
from seedcore.settings.postgres import PostgresSettings
from seedcore.settings.ray import RaySettings
from seedcore.settings.security import SecuritySettings
from seedcore.settings.state import StateSettings
from seedcore.settings.stores import StoreSettings, default_data_dir
from seedcore.settings.tasks import TaskSettings
from seedcore.settings.telemetry import TelemetrySettings
from seedcore.settings.worker import WorkerSettings

__all__ = [
    "GROUPS",
    "SECRET_FIELDS",
    "Settings",
    "default_data_dir",
    "env_names",
    "get_settings",
    "load_settings",
]


class Settings(
    # The last first: pydantic collects the fields of the last base first, and that is the order of the documentation.
    MlSettings,
    StateSettings,
    EnergySettings,
    EmbeddingSettings,
    LlmSettings,
    MemorySettings,
    CognitiveSettings,
    OrganismSettings,
    CoordinatorSettings,
    WorkerSettings,
    TaskSettings,
    RaySettings,
    GraphSettings,
    PostgresSettings,
    StoreSettings,
    TelemetrySettings,
    SecuritySettings,
    HttpSettings,
):
    """All settings, read flat: `settings.pg_dsn`."""

    @property
    def base_url(self) -> str:
        """Where the Serve applications answer HTTP, without a slash at the end."""
        host = f"[{self.http_host}]" if ":" in self.http_host else self.http_host
        return (self.serve_url or f"{self.http_scheme}://{host}:{self.http_port}").rstrip("/")

    @property
    def http_scheme(self) -> str:
        """What HTTP speaks here: `https` with a certificate."""
        return "http" if self.tls_cert is None else "https"

    @property
    def model_answer_s(self) -> float:
        """How long Cognitive waits for a language model: what is left of a request is for the offline engine."""
        left = self.request_timeout_s - self.cognitive_timeout_s - 2
        return min(self.cognitive_llm_timeout_s, max(left, self.request_timeout_s / 2))

    @property
    def models_dir(self) -> Path:
        """Folder of the model registry."""
        return self.xgb_storage_path or self.data_dir / "models"

    @property
    def datasets_dir(self) -> Path:
        """Folder of the files that models are trained on."""
        return self.data_dir / "datasets"


GROUPS: tuple[type[SettingsGroup], ...] = tuple(
    base for base in reversed(Settings.__bases__) if issubclass(base, SettingsGroup)
)
"""The groups, in the order of the documentation."""

SECRET_FIELDS = frozenset(name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation))


def env_names(field_name: str) -> tuple[str, ...]:
    """The environment variables of a field, the winning one first."""
    return variables_of(Settings.model_fields[field_name])


def load_settings(**overrides: Any) -> Settings:
    """Read and validate the environment.

    Args:
        overrides: values by field name, which win over the environment.

    Raises:
        SettingsError: names each bad variable, its value (never a secret's) and what is allowed.
    """
    try:
        return Settings(**overrides)
    except ValidationError as error:
        wrong = []
        for item in error.errors(include_url=False, include_input=True):
            name, field = _field_at(str(item["loc"][0]))
            variable = given_variable(field) or variables_of(field)[0]
            given = overrides.get(name, os.environ.get(variable, item.get("input")))
            value = "(secret)" if name in SECRET_FIELDS else repr(given)
            message = item["msg"].removeprefix("Value error, ")
            wrong.append(FieldError(variable, f"{value} is not allowed: {message}"))
        detail = "; ".join(f"{e.field}={e.message}" for e in wrong)
        raise SettingsError(detail, errors=wrong) from None


def _field_at(location: str) -> tuple[str, FieldInfo]:
    """The field that a validation error names, by its own name or by a variable."""
    return next(
        (name, field)
        for name, field in Settings.model_fields.items()
        if location == name or location in variables_of(field)
    )


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The settings of this process, read once."""
    return load_settings()
