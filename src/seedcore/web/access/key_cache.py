"""The stored keys that a process has seen: no query a request, and a revoked key is refused within a second.

An entry counts for `FRESH_S` after the query that read it began. A task reads all entries in use again in one query,
well before that, until none has been used for `IDLE_S`. While the database does not answer, keys that were known go on
for `GRACE_S`.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from seedcore.errors import OverloadedError, UnauthorizedError, UnavailableError
from seedcore.stores.postgres import DATABASE_ERRORS, Database
from seedcore.telemetry.logs import get_logger
from seedcore.telemetry.metrics import counter
from seedcore.web.access.caller import UNKNOWN_KEY, Caller
from seedcore.web.access.key_repository import FoundKey, find_keys, note_use

FRESH_S = 0.8
REFRESH_S = 0.35
IDLE_S = 60.0
GRACE_S = 30.0
NOTE_EVERY_S = 60.0
PATIENCE_S = 0.4
"""How long a request with a known key waits for the database before it goes on with what is known."""
QUERY_S = 5.0
MAX_UNKNOWN = 10_000
MAX_WAITING = 1_000

_FAILURES = (*DATABASE_ERRORS, TimeoutError)


@dataclass(slots=True)
class _Entry:
    caller: Caller
    refused: str | None
    ends_at: float
    checked_at: float
    used_at: float
    noted_at: float = float("-inf")


class KnownKeyRefusedError(UnauthorizedError):
    """A key that was valid once; `caller` is whose it was."""

    def __init__(self, detail: str, caller: Caller) -> None:
        super().__init__(detail)
        self.caller = caller

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle what the constructor takes."""
        return type(self), (self.detail, self.caller)


class KeyCache:
    """Finds the caller of a stored key by the hash of its secret."""

    def __init__(self, database: Callable[[], Database], clock: Callable[[], float] = time.monotonic) -> None:
        self._database, self._clock = database, clock
        self._entries: dict[bytes, _Entry] = {}
        self._unknown: dict[bytes, float] = {}
        self._wanted: dict[bytes, asyncio.Future[None]] = {}
        self._asking: asyncio.Task[None] | None = None
        self._refreshing: asyncio.Task[None] | None = None
        self._away = False
        self._forgotten_at = float("-inf")
        self._log = get_logger("seedcore.web.access")

    async def find(self, digest: bytes) -> Caller:
        """Whose key it is.

        Raises:
            UnauthorizedError: it is unknown, expired or revoked.
            UnavailableError: the database does not answer, and the key has not been seen lately.
            OverloadedError: too many keys wait to be looked up.
        """
        now = self._clock()
        entry = self._entries.get(digest)
        if entry is None:
            if now - self._unknown.get(digest, float("-inf")) > FRESH_S:
                await self._look_up(digest, QUERY_S)
                entry = self._entries.get(digest)
            if entry is None:
                raise UnauthorizedError(UNKNOWN_KEY)
        elif now - entry.checked_at > FRESH_S:
            entry = await self._recheck(digest, entry)
        return self._let_in(entry)

    def forget(self) -> None:
        """Keys have been changed by this process: look all of them up again before they are used."""
        now = self._forgotten_at = self._clock()
        for entry in self._entries.values():
            entry.checked_at = min(entry.checked_at, now - 2 * FRESH_S)
        self._unknown.clear()

    async def aclose(self) -> None:
        """End the tasks."""
        tasks = [task for task in (self._asking, self._refreshing) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _let_in(self, entry: _Entry) -> Caller:
        now = self._clock()
        entry.used_at = now
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._refresh(), name="refresh-keys")
        if entry.refused is not None:
            raise KnownKeyRefusedError(entry.refused, entry.caller)
        if now >= entry.ends_at:
            raise KnownKeyRefusedError("This key has expired.", entry.caller)
        return entry.caller

    async def _recheck(self, digest: bytes, entry: _Entry) -> _Entry:
        """The entry read again; the old one while the database does not answer, within bounds."""
        may_wait = self._clock() - entry.checked_at > GRACE_S
        if not self._away or may_wait:
            try:
                await self._look_up(digest, QUERY_S if may_wait else PATIENCE_S)
            except (UnavailableError, OverloadedError) as error:
                if may_wait:
                    raise
                self._went_away(error)
            else:
                found = self._entries.get(digest)
                if found is None:
                    raise UnauthorizedError(UNKNOWN_KEY)
                return found
        counter("seedcore_fallbacks_total").add(1, fallback="known_keys")
        return entry

    async def _look_up(self, digest: bytes, patience_s: float) -> None:
        """Read one key; those that are wanted at the same time share a query."""
        future = self._wanted.get(digest)
        if future is None:
            if len(self._wanted) >= MAX_WAITING:
                raise OverloadedError("Too many keys wait to be looked up.", retry_after_s=1)
            future = self._wanted[digest] = asyncio.get_running_loop().create_future()
            future.add_done_callback(_retrieve)
            if self._asking is None or self._asking.done():
                self._asking = asyncio.create_task(self._ask(), name="look-up-keys")
        try:
            async with asyncio.timeout(patience_s):
                await asyncio.shield(future)
        except _FAILURES as error:
            reason = getattr(error, "detail", "it took too long")
            raise UnavailableError(f"The key cannot be checked: {reason}", retry_after_s=1) from None

    async def _ask(self) -> None:
        # One turn of the loop, so that requests that came together share the query.
        await asyncio.sleep(0)
        while self._wanted:
            wanted, self._wanted = self._wanted, {}
            try:
                await self._read(list(wanted))
            except _FAILURES as error:
                self._went_away(error)
                for future in wanted.values():
                    if not future.done():
                        future.set_exception(error)
            else:
                for future in wanted.values():
                    if not future.done():
                        future.set_result(None)
            finally:
                for future in wanted.values():
                    if not future.done():
                        future.set_exception(UnavailableError("the look-up was given up"))

    async def _read(self, digests: list[bytes]) -> None:
        began = self._clock()
        async with asyncio.timeout(QUERY_S), self._database().connection(wait_s=QUERY_S / 2) as connection:
            found = {key.hash: key for key in await find_keys(connection, digests)}
        if self._away:
            self._away = False
            self._log.info("keys can be checked again")
        for digest in digests:
            self._take(digest, found.get(digest), began)

    def _take(self, digest: bytes, key: FoundKey | None, began: float) -> None:
        before = self._entries.get(digest)
        if key is None:
            self._entries.pop(digest, None)
            if len(self._unknown) >= MAX_UNKNOWN:
                self._unknown.clear()
            self._unknown[digest] = began
            return
        self._unknown.pop(digest, None)
        caller = Caller(key.name, "key", frozenset(key.scopes), key.tenant, key.payloads)
        refused = "This key has been revoked." if key.revoked else None
        ends_at = float("inf") if key.left_s is None else began + key.left_s
        # A query that began before that may have read what was so before.
        checked_at = began if began >= self._forgotten_at else began - 2 * FRESH_S
        entry = _Entry(caller, refused, ends_at, checked_at, began)
        if before is not None:
            entry.used_at, entry.noted_at = before.used_at, before.noted_at
        self._entries[digest] = entry

    async def _refresh(self) -> None:
        """Read the keys in use again and again, and note once a minute that they are used."""
        while True:
            now = self._clock()
            for digest in [digest for digest, entry in self._entries.items() if now - entry.used_at > IDLE_S]:
                del self._entries[digest]
            if not self._entries:
                return
            try:
                await self._read(list(self._entries))
                await self._note_use(now)
            except _FAILURES as error:
                self._went_away(error)
            await asyncio.sleep(REFRESH_S)

    async def _note_use(self, now: float) -> None:
        used = {
            digest: entry
            for digest, entry in self._entries.items()
            if entry.refused is None and entry.used_at > entry.noted_at and now - entry.noted_at >= NOTE_EVERY_S
        }
        if not used:
            return
        # Whatever comes of it: a database that takes no writes is asked once a minute.
        for entry in used.values():
            entry.noted_at = now
        try:
            async with asyncio.timeout(QUERY_S), self._database().connection(wait_s=QUERY_S / 2) as connection:
                await note_use(connection, list(used))
        except _FAILURES as error:
            self._log.warning("last use of keys not written", reason=f"{type(error).__name__}: {error}")

    def _went_away(self, error: BaseException) -> None:
        if not self._away:
            self._away = True
            self._log.warning("keys cannot be checked", reason=f"{type(error).__name__}: {error}")


def _retrieve(future: asyncio.Future[None]) -> None:
    """Look at the error of a future that no request waits for any more: asyncio would log it."""
    if not future.cancelled():
        future.exception()
