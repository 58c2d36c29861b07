"""What a decision needs to know about a task's stream: the status of its monitors, and whether it is held."""

from typing import NamedTuple, Protocol

StreamKey = tuple[str | None, str]
"""A stream: domain and type."""


class StreamStatus(NamedTuple):
    """The status of a stream's monitors; evidence None: there is no valve yet.

    `shifted`: the valve of its work is open, whatever its outcomes do.
    """

    state: str
    evidence: float | None = None
    work: float | None = None
    outcome: float | None = None
    shifted: bool = False


UNWATCHED = StreamStatus("unwatched")
LEARNING = StreamStatus("learning")


def stream_name(domain: str | None, type_: str) -> str:
    """The name of a stream: `type`, or `domain/type`."""
    return type_ if domain is None else f"{domain}/{type_}"


class StatusLookup(Protocol):
    """The monitors of all streams."""

    def status(self, key: StreamKey) -> StreamStatus:
        """The status of a stream; UNWATCHED when it has no monitor."""


class ActiveHold(Protocol):
    """A hold that has not ended."""

    @property
    def reason(self) -> str:
        """Why the stream is held."""

    @property
    def wait_s(self) -> float | None:
        """How long its tasks wait for a person; None: as the setting says."""


class HoldLookup(Protocol):
    """The held streams."""

    def of(self, stream: str) -> ActiveHold | None:
        """The hold of a stream by its name; None: it is not held."""

    def __bool__(self) -> bool:
        """Whether any stream may be held."""
