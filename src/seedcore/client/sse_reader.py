"""Parses a server-sent event stream (WHATWG HTML §9.2.6), piece by piece."""

from collections.abc import Iterator
from dataclasses import dataclass

MAX_EVENT_BYTES = 8 * 1024 * 1024
"""Largest event. Results are far smaller; a stream that never ends a line is not an event stream."""


@dataclass(frozen=True, slots=True)
class SseMessage:
    """One event of the stream."""

    id: str
    event: str
    data: str


class SseParser:
    """Parses a stream whose bytes arrive in any pieces; an incomplete last event is dropped."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self._started = False
        self._id = ""
        self._event = ""
        self._data: list[str] = []
        self._size = 0

    def feed(self, chunk: bytes) -> Iterator[SseMessage]:
        """The events that `chunk` completes.

        Raises:
            ValueError: an event is larger than MAX_EVENT_BYTES.
        """
        self._buffer += chunk
        for line in self._lines():
            self._size += len(line)
            if self._size > MAX_EVENT_BYTES:
                break
            if line:
                self._field(line)
                continue
            if self._data:
                yield SseMessage(self._id, self._event or "message", "\n".join(self._data))
            self._event, self._data, self._size = "", [], 0
        if self._size + len(self._buffer) > MAX_EVENT_BYTES:
            raise ValueError(f"an event of more than {MAX_EVENT_BYTES} bytes")

    def _lines(self) -> Iterator[bytes]:
        buffer = self._buffer
        begin = 0
        try:
            while (found := self._line_end(begin)) is not None:
                end, after = found
                line = bytes(buffer[begin:end])
                if not self._started:
                    self._started, line = True, line.removeprefix(b"\xef\xbb\xbf")
                begin = self._searched = after
                yield line
        finally:
            del buffer[:begin]
            self._searched = max(0, self._searched - begin)

    def _line_end(self, begin: int) -> tuple[int, int] | None:
        """Where the line that begins at `begin` ends, and the next begins; None: not yet."""
        buffer = self._buffer
        start = max(begin, self._searched)
        line_feed = buffer.find(b"\n", start)
        carriage = buffer.find(b"\r", start, None if line_feed < 0 else line_feed)
        if carriage >= 0:
            if carriage + 1 == len(buffer):
                # Its line feed may be in the next piece.
                self._searched = carriage
                return None
            return carriage, carriage + (2 if buffer[carriage + 1] == 0x0A else 1)
        if line_feed >= 0:
            return line_feed, line_feed + 1
        self._searched = len(buffer)
        return None

    def _field(self, line: bytes) -> None:
        name, _, value = line.decode(errors="replace").partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value
        elif name == "id" and "\0" not in value:
            self._id = value
