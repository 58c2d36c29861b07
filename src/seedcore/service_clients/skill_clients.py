"""What skills of a process share: service clients and kept objects, each made on first use."""

from collections.abc import Callable
from functools import cached_property
from typing import Any, cast

from seedcore.llm.skill_models import HostModels
from seedcore.memory.long_term.kept_memory import KeptMemory
from seedcore.memory.working.working_memory import WorkingMemory
from seedcore.service_clients.ml_client import MLClient
from seedcore.settings import Settings
from seedcore.skills.context import Kept, KeptObject


class SkillServiceClients:
    """What a skill finds as `context.clients`; it belongs to the skills' loop, `status` alone to any thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._kept: dict[Callable[[Settings], Any], KeptObject] = {}

    @cached_property
    def ml(self) -> MLClient:
        """Client of the ML service."""
        return MLClient(self._settings)

    @cached_property
    def models(self) -> HostModels:
        """Asks language models."""
        return HostModels(self._settings, self.working)

    @cached_property
    def working(self) -> WorkingMemory:
        """Working memory, where answers of language models are kept that skills ask to be given again."""
        return WorkingMemory(self._settings)

    @property
    def recall(self) -> KeptMemory:
        """Long-term memory."""
        return self.keep(KeptMemory)

    def keep(self, make: Callable[[Settings], Kept]) -> Kept:
        """The one object of this process that `make` makes."""
        found = self._kept.get(make)
        if found is None:
            # Memory keeps vectors of queries where all of this process keeps what is dear to make.
            made = KeptMemory(self._settings, self.working) if make is KeptMemory else make(self._settings)
            found = self._kept[make] = made
        return cast(Kept, found)

    def status(self) -> dict[str, object]:
        """What each kept object does, by its name."""
        return {kept.name: kept.status() for kept in list(self._kept.values())}

    async def aclose(self) -> None:
        """Close all of it; what is asked for afterwards is made again."""
        kept, self._kept = list(self._kept.values()), {}
        for one in kept:
            await one.aclose()
        if (models := self.__dict__.pop("models", None)) is not None:
            await models.aclose()
        if (working := self.__dict__.pop("working", None)) is not None:
            await working.close()
        if (client := self.__dict__.pop("ml", None)) is not None:
            await client.aclose()
