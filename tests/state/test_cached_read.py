"""Cached reads: shared reads, ages, and what callers get while a source is away."""

import asyncio

import pytest

from seedcore.errors import SchemaBehindError, UnavailableError
from seedcore.state import cached_read as module
from seedcore.state.cached_read import CachedRead


class Source:
    """Counts reads; each takes until it is let go."""

    def __init__(self) -> None:
        self.reads = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.fails: Exception | None = None

    async def read(self) -> int:
        self.reads += 1
        number = self.reads
        await self.gate.wait()
        if self.fails is not None:
            raise self.fails
        return number


async def test_whoever_asks_gets_a_read_that_began_later_and_shares_it():
    source = Source()
    cached: CachedRead[int] = CachedRead(source.read)
    source.gate.clear()
    first = asyncio.create_task(cached.refresh())
    while source.reads < 1:
        await asyncio.sleep(0)
    others = [asyncio.create_task(cached.refresh()) for _ in range(100)]
    await asyncio.sleep(0)
    source.gate.set()
    await asyncio.gather(first, *others)
    assert (source.reads, cached.value) == (2, 2)


async def test_one_who_gives_up_takes_the_read_from_nobody():
    source = Source()
    cached: CachedRead[int] = CachedRead(source.read)
    source.gate.clear()
    impatient, patient = asyncio.create_task(cached.refresh()), asyncio.create_task(cached.refresh())
    while source.reads < 1:
        await asyncio.sleep(0)
    impatient.cancel()
    source.gate.set()
    await patient
    assert (cached.value, cached.error) == (1, None)


async def test_what_is_kept_is_not_read_again():
    source = Source()
    cached: CachedRead[int] = CachedRead(source.read, ttl_s=60)
    await cached.refresh()
    await cached.refresh()
    assert source.reads == 1


async def test_a_failure_leaves_what_was_known_with_its_age_and_its_reason(monkeypatch: pytest.MonkeyPatch):
    source = Source()
    cached: CachedRead[int] = CachedRead(source.read)
    await cached.refresh()
    source.fails = OSError("gone")
    await cached.refresh()
    assert isinstance(cached.error, UnavailableError)
    assert (cached.value, cached.failures) == (1, 1)
    assert cached.within(60) == 1
    with pytest.raises(UnavailableError):
        cached.within(0)
    # The next ones are told at once.
    reads = source.reads
    await cached.refresh()
    assert source.reads == reads
    monkeypatch.setattr(module, "RETRY_S", 0)
    source.fails = None
    await cached.refresh()
    assert cached.error is None
    assert cached.within(0) == source.reads


async def test_what_was_never_read_raises_its_own_reason():
    source = Source()
    cached: CachedRead[int] = CachedRead(source.read)
    with pytest.raises(UnavailableError, match="Nothing has been read"):
        cached.within(60)
    source.fails = SchemaBehindError("old", retry_after_s=2)
    await cached.refresh()
    with pytest.raises(SchemaBehindError):
        cached.within(1e9)
