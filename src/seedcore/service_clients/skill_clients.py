"""Service clients for skills, each created on first use."""

from functools import cached_property

from seedcore.service_clients.ml_client import MLClient
from seedcore.settings import Settings


class SkillServiceClients:
    """What a skill finds as `context.clients`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @cached_property
    def ml(self) -> MLClient:
        """Client of the ML service."""
        return MLClient(self._settings)
