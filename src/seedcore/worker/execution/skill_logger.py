"""A skill's logger."""

from structlog.typing import FilteringBoundLogger

from seedcore.skills.host_protocol import Call


class SkillLogger:
    """Bound to its task on use: most skills log nothing, and binding costs more than they do."""

    __slots__ = ("_call", "_log")

    def __init__(self, log: FilteringBoundLogger, call: Call) -> None:
        self._log, self._call = log, call

    def warning(self, event: str, *values: object, **fields: object) -> object:
        """Log a warning."""
        return self._bound().warning(event, *values, **fields)

    def __getattr__(self, name: str) -> object:
        return getattr(self._bound(), name)

    def _bound(self) -> FilteringBoundLogger:
        return self._log.bind(**self._call.log_fields())
