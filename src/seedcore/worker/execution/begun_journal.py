"""Notes which calls have begun in a file that outlives the process, so that the next process of the same name knows.

The file is memory-mapped: a note costs no system call, and the kernel keeps what a killed process has written. After a
restart of the machine the file may be old: it names the boot that it is of, and is not believed in another one. Nor is
it while the process that writes it still lives: that one holds a lock on it.
"""

import contextlib
import fcntl
import mmap
import os
import struct
import tempfile
import threading
import zlib
from collections.abc import Collection, Iterable, Set
from hashlib import sha256
from pathlib import Path
from uuid import UUID

from seedcore.settings import Settings
from seedcore.skills.host_protocol import Call
from seedcore.telemetry.logs import get_logger
from seedcore.telemetry.metrics import counter

RECORD_BYTES = 1024
"""One call: its state, a checksum, token and task, and the skill's name (200 characters of up to 4 bytes)."""

HEADER_BYTES = mmap.ALLOCATIONGRANULARITY
MAX_RECORDS = 131_072
"""More calls than this are never noted at once; then the next process believes nothing of the file."""

GROW_RECORDS = 256

FREE, RUNNING, ENDED, ELSEWHERE = 0, 0xB1, 0xB2, 0xB3
"""States of a record: of none; of a call that runs here; of one that has ended here and whose end may not be written;
of one that was sent to another process. The state is written last, so a call with a state is noted whole."""

HEADER = struct.Struct("<8s16s16sI")
MAGIC = b"SCBegun1"
BODY = struct.Struct("<q36sH")
CHECKSUM = struct.Struct("<I")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
INCOMPLETE = HEADER_BYTES - 1
NO_SESSION = UUID(int=0)
_MAX_NAMES = 10_000

Slot = tuple[mmap.mmap, int, int]
"""Where a call is noted: the part of the file, the place in it, and the call's token."""


class BegunJournal:
    """The journal of this process; an earlier one at the same path is replaced, so read that first.

    Its methods may be called from any thread, and never raise for a call that cannot be noted: `unnoted` counts those.

    Args:
        path: the file; its folder must exist.
        records: calls that are noted at once before the file grows.

    Raises:
        OSError: the file cannot be made, or has no room on its disk.
    """

    def __init__(self, path: Path, records: int = GROW_RECORDS) -> None:
        self.path, self.unnoted = path, 0
        self._closed, self._growing = False, threading.Lock()
        self._size = HEADER_BYTES
        self._parts: list[mmap.mmap] = []
        self._free: list[Slot] = []
        self._names: dict[str, bytes] = {}
        # What this process has claimed, by token, and those calls of it whose end is not written.
        self._held: set[int] = set()
        self._ended: dict[int, Slot] = {}
        self._file, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            # An earlier process of this name may still live, and map the file of this path.
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._header = self._map(HEADER_BYTES, 0)
            self.note_session(NO_SESSION)
            self._grow(records)
            Path(name).replace(path)
        except BaseException:
            os.close(self._file)
            Path(name).unlink(missing_ok=True)
            raise

    def note_session(self, session: UUID) -> None:
        """Name the session that this process claims with: the journal speaks of its leases alone."""
        head = HEADER.pack(MAGIC, boot_id().bytes, session.bytes, RECORD_BYTES)
        self._header[: len(head) + CHECKSUM.size] = head + CHECKSUM.pack(zlib.crc32(head))

    def begin(self, call: Call, state: int = RUNNING) -> Slot | None:
        """Note that a call begins to run here; None when there is no room for it."""
        if self._closed:
            return None
        try:
            slot = self._free.pop()
        except IndexError:
            if (made := self._more()) is None:
                return None
            slot = made
        part, at, _ = slot
        name = self._names.get(call.skill) or self._name(call.skill)
        token = call.token
        body = BODY.pack(token, call.task_id.encode("ascii", "replace"), len(name)) + name
        part[at + 1 : at + 5 + len(body)] = CHECKSUM.pack(zlib.crc32(body)) + body
        part[at] = state
        return part, at, token

    def end(self, slot: Slot | None) -> None:
        """Note that a call runs no more. If this process holds its lease, it has begun until that is settled."""
        if slot is None:
            return
        part, at, token = slot
        if token not in self._held:
            part[at] = FREE
            self._free.append(slot)
            return
        part[at] = ENDED
        if token in self._ended:
            self._forget(token)  # a note of an earlier place, which returned the call
        self._ended[token] = slot
        if token not in self._held:
            # It was settled in this moment, by another thread: one of the two finds it.
            self._forget(token)

    def hold(self, tokens: Iterable[int]) -> None:
        """Leases that this process has claimed: calls of them have begun until they are settled."""
        self._held.update(tokens)

    def settle(self, tokens: Set[int]) -> None:
        """The ends of these leases are written, or they are lost."""
        self._held.difference_update(tokens)
        for token in self._ended.keys() & tokens:
            self._forget(token)

    def send(self, calls: Iterable[Call]) -> None:
        """Note calls that are sent to another process, before they are: they may begin there until they are settled."""
        for call in calls:
            if call.token not in self._ended and (slot := self.begin(call, ELSEWHERE)) is not None:
                self._ended[call.token] = slot

    def unsend(self, tokens: Iterable[int]) -> None:
        """These have not begun elsewhere, for the other process did not take them."""
        for token in tokens:
            self._forget(token)

    def clear(self, keep: Collection[int] = ()) -> None:
        """Forget all calls but those with the tokens `keep`: what else was in hand is returned, and nothing of it is to
        be blamed for this process's end. Nothing is noted after this."""
        self._closed = True
        for part in self._parts:
            for at in range(0, len(part), RECORD_BYTES):
                if BODY.unpack_from(part, at + 1 + CHECKSUM.size)[0] not in keep:
                    part[at] = FREE

    def close(self) -> None:
        """End gracefully: leave an empty journal. Nothing is noted after this."""
        self.clear()
        fcntl.flock(self._file, fcntl.LOCK_UN)
        os.close(self._file)

    @property
    def noted(self) -> int:
        """Calls that are noted now."""
        return sum(len(part) // RECORD_BYTES for part in self._parts) - len(self._free)

    def _name(self, skill: str) -> bytes:
        if len(self._names) >= _MAX_NAMES:
            self._names.clear()
        name = skill.encode(errors="replace")[: RECORD_BYTES - 1 - CHECKSUM.size - BODY.size]
        self._names[skill] = name
        return name

    def _forget(self, token: int) -> None:
        if (slot := self._ended.pop(token, None)) is not None:
            slot[0][slot[1]] = FREE
            self._free.append(slot)

    def _more(self) -> Slot | None:
        try:
            with self._growing:
                if not self._free:
                    self._grow(GROW_RECORDS)
            return self._free.pop()
        except (OSError, IndexError):
            self.unnoted += 1
            counter("seedcore_fallbacks_total").add(1, fallback="unnoted_begin")
            self._header[INCOMPLETE] = 1
            return None

    def _grow(self, records: int) -> None:
        have = (self._size - HEADER_BYTES) // RECORD_BYTES
        step = HEADER_BYTES // RECORD_BYTES
        records = min(-(-records // step) * step, MAX_RECORDS - have)
        if records > 0:
            part = self._map(records * RECORD_BYTES, self._size)
            self._size += len(part)
            self._parts.append(part)
            self._free += [(part, at, 0) for at in reversed(range(0, len(part), RECORD_BYTES))]

    def _map(self, size: int, offset: int) -> mmap.mmap:
        # Room on the disk first: a write to a mapped page that gets none would end the process (SIGBUS).
        os.posix_fallocate(self._file, offset, size)
        return mmap.mmap(self._file, size, offset=offset)


def journal_path(settings: Settings, name: str) -> Path:
    """Where the host or worker `name` has its journal: under the data directory, else in the temporary folder."""
    known = name if name.replace("-", "").replace("_", "").isalnum() and name.isascii() else ""
    file = f"{known or sha256(name.encode(errors='replace')).hexdigest()[:20]}.begun"
    folder = settings.data_dir / "begun"
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.access(folder, os.W_OK | os.X_OK):
        return folder / file
    # Another SeedCore on this machine may have hosts of the same name.
    dsn = settings.pg_dsn.get_secret_value() if settings.pg_dsn else ""
    whose = f"{settings.data_dir} {dsn} {settings.namespace}"
    return Path(tempfile.gettempdir()) / f"seedcore-{os.geteuid()}-{sha256(whose.encode()).hexdigest()[:10]}-{file}"


def open_journal(path: Path, settings: Settings) -> BegunJournal | None:
    """A journal with room for all that a host runs at once. None, logged, when it cannot be made: the work goes on, but
    every task that is in hand when the process ends costs an attempt."""
    try:
        return BegunJournal(path, settings.host_concurrency + settings.host_threads + settings.host_processes)
    except OSError as error:
        get_logger("seedcore.worker.journal").error(
            "cannot note which calls begin: make its folder writable, with room on the disk",
            path=str(path),
            reason=str(error),
        )
        return None


def boot_id() -> UUID:
    """Another one after each start of the machine."""
    return UUID(_BOOT_ID.read_text().strip())
