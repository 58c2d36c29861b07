"""Workers at start: the Organism is told how many, and bootstrap waits until they claim. Ray and Organism are faked."""

import asyncio
import time
from typing import Any

import pytest

from bootstraps import bootstrap_dispatchers as module
from bootstraps import bootstrap_organism as organism_module
from bootstraps.bootstrap_dispatchers import bootstrap_dispatchers
from bootstraps.bootstrap_organism import bootstrap_organism
from seedcore.errors import InvalidInputError, NotFoundError, UnavailableError
from seedcore.settings import Settings


class Actor:
    """A handle whose `status` gives the answers of a test, the last one again and again."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self.answers = list(answers)
        self.status = self

    async def remote(self) -> dict[str, Any]:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class Organism:
    """What bootstrap asks of the Organism."""

    def __init__(self) -> None:
        self.put: list[tuple[Any, ...]] = []
        self.failures: list[Exception] = []
        self.names: dict[str, list[str]] = {"default": ["w-1", "w-2"], "graph": ["g-3"]}
        self.initialized = [True]
        self.closed = False

    def __call__(self, _settings: Settings, *, timeout_s: float) -> "Organism":
        return self

    async def put_workers(self, *numbers: Any) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.put.append(numbers)

    async def status(self) -> dict[str, Any]:
        desired = dict(zip(("default", "graph"), self.put[-1], strict=False))
        return {
            "workers": {
                queue: {"desired": desired[queue], "alive": len(names), "names": names}
                for queue, names in self.names.items()
            }
        }

    async def initialize(self) -> dict[str, Any]:
        if self.failures:
            raise self.failures.pop(0)
        up = self.initialized.pop(0) if len(self.initialized) > 1 else self.initialized[0]
        return {"organism_initialized": up, "organs": {"utility": {}}}

    async def aclose(self) -> None:
        self.closed = True


@pytest.fixture
def organism(monkeypatch: pytest.MonkeyPatch) -> Organism:
    made = Organism()
    monkeypatch.setattr(module, "OrganismClient", made)
    monkeypatch.setattr(organism_module, "OrganismClient", made)
    monkeypatch.setattr(organism_module, "PAUSE_S", 0.01)
    monkeypatch.setattr(module, "PAUSE_S", 0.01)
    return made


@pytest.fixture
def actors(monkeypatch: pytest.MonkeyPatch) -> dict[str, Actor]:
    made = {name: Actor({"last_claim_s": 0.1}) for name in ("w-1", "w-2", "g-3")}
    monkeypatch.setattr(module, "_ensure_reaper", lambda _settings: Actor({}, {"last_look_s": 0.1}))
    monkeypatch.setattr(module, "_actor", lambda _settings, name: made.get(name))
    return made


def soon(seconds: float = 10) -> float:
    return time.monotonic() + seconds


async def test_the_numbers_are_those_of_the_settings(organism: Organism, actors: dict[str, Actor], settings: Settings):
    await bootstrap_dispatchers(settings, soon())
    assert (organism.put, organism.closed) == ([(2, 1, None)], True)
    by_node = settings.model_copy(update={"workers_per_node": 2})
    await bootstrap_dispatchers(by_node, soon())
    assert organism.put[-1] == (2, 1, 2)


async def test_it_waits_for_an_organism_that_is_being_deployed(
    organism: Organism, actors: dict[str, Actor], settings: Settings
):
    organism.failures = [NotFoundError("nothing there"), UnavailableError("starting")]
    await bootstrap_dispatchers(settings, soon())
    assert organism.put == [(2, 1, None)]


async def test_a_refusal_ends_it_at_once(organism: Organism, actors: dict[str, Actor], settings: Settings):
    organism.failures = [InvalidInputError.for_field("default", "too many")]
    with pytest.raises(InvalidInputError):
        await bootstrap_dispatchers(settings, soon(600))
    assert organism.closed


async def test_it_waits_until_every_worker_has_claimed(
    organism: Organism, actors: dict[str, Actor], settings: Settings
):
    actors["w-2"].answers = [{"last_claim_s": None}] * 3 + [{"last_claim_s": 0.0}]
    await bootstrap_dispatchers(settings, soon())
    assert len(actors["w-2"].answers) == 1


async def test_workers_that_are_too_few_or_idle_are_named(
    organism: Organism, actors: dict[str, Actor], settings: Settings
):
    actors["g-3"].answers = [{"last_claim_s": None, "reason": "no database"}]
    with pytest.raises(UnavailableError, match="no database"):
        await bootstrap_dispatchers(settings, soon(0.1))
    organism.names["default"] = ["w-1"]
    with pytest.raises(UnavailableError, match="'default': '1/2'"):
        await bootstrap_dispatchers(settings, soon(0.1))


async def test_a_worker_that_has_just_ended_is_asked_no_more_when_another_takes_its_place(
    organism: Organism, actors: dict[str, Actor], settings: Settings
):
    organism.names["default"] = ["w-0", "w-1"]
    running = asyncio.create_task(bootstrap_dispatchers(settings, soon()))
    while not organism.put:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    assert not running.done()
    organism.names["default"] = ["w-1", "w-2"]
    await running


async def test_the_organism_is_asked_until_it_is_initialized(organism: Organism, settings: Settings):
    organism.failures = [NotFoundError("nothing there"), UnavailableError("starting")]
    organism.initialized = [False, True]
    await bootstrap_organism(settings, soon())
    organism.initialized = [False]
    with pytest.raises(UnavailableError, match="not every organ is up"):
        await bootstrap_organism(settings, soon(0.05))
    organism.failures = [UnavailableError("no schema")] * 100
    with pytest.raises(UnavailableError, match="no schema"):
        await bootstrap_organism(settings, soon(0.05))
