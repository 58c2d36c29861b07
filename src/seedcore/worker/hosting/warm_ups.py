"""What a process does before the first calls of an organ: the warm-ups of the organ's skills."""

from collections.abc import Awaitable, Callable, Coroutine
from functools import partial

from seedcore.skills.context import SkillClients
from seedcore.skills.registry import SkillRegistry
from seedcore.skills.skill_decorator import WarmUp
from seedcore.utils.warming import Warming


def warm_ups(registry: SkillRegistry, organ: str, clients: SkillClients) -> "dict[str, partial[Awaitable[None]]]":
    """The warm-ups of an organ's skills, by skill; a function that several skills share runs once."""
    functions = {
        spec.warm_up: spec.name for spec in registry.values() if spec.organ == organ and spec.warm_up is not None
    }
    return {name: partial(warm_up, clients) for warm_up, name in functions.items()}


class OrganWarmUps:
    """The warm-ups of the organs whose agents live in this process, each function once.

    Args:
        registry: the skills.
        clients: what a warm-up gets.
        start: runs a coroutine in the skills' loop.
    """

    def __init__(
        self, registry: SkillRegistry, clients: SkillClients, start: Callable[[Coroutine[object, object, None]], object]
    ) -> None:
        self._registry, self._clients, self._start = registry, clients, start
        self._started: set[WarmUp] = set()
        self._warming: dict[str, Warming] = {}

    def warm(self, organ: str) -> None:
        """Begin the warm-ups of an organ's skills that have not begun yet."""
        if organ in self._warming:
            return
        steps = warm_ups(self._registry, organ, self._clients)
        new = {name: step for name, step in steps.items() if step.func not in self._started}
        self._started.update(step.func for step in new.values())
        self._warming[organ] = warming = Warming(new)
        if new:
            self._start(warming.run())

    @property
    def cold(self) -> dict[str, str]:
        """The skills whose warm-up has not succeeded yet, each with the reason."""
        return {name: why for warming in list(self._warming.values()) for name, why in dict(warming.cold).items()}
