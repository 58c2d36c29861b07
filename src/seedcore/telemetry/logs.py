"""Structured logs: one line per event, context bound by the caller, secrets masked."""

import logging
import re
import sys
from collections.abc import Mapping
from contextvars import ContextVar, Token
from typing import Protocol, TextIO

from seedcore.settings import Settings
from seedcore.telemetry.lean_imports import without

# Its tracebacks would be drawn by rich; here they are texts before a renderer sees them.
with without("rich"):
    import structlog
    from structlog.typing import EventDict, FilteringBoundLogger, Processor

# Each of these takes time linear in the text: what a skill raises may be long, and made to be slow.
_TOKEN = re.compile(r"[^\s\"'?#]++")
_SCHEME = re.compile(r"\b[a-z][a-z0-9+.-]{0,63}://", re.IGNORECASE)
_ASSIGNED = re.compile(r"(\b(?:password|passwd|secret|api_?key|(?:access|auth)_token)=)[^\s\"'&;,]+", re.IGNORECASE)
_BEARER = re.compile(r"(\bbearer\s+)[^\s\"',]+", re.IGNORECASE)
_SECRET_KEYS = re.compile(
    r"password|secret|(access|auth|bearer|refresh)_?token|token_value|api_?key|authorization|dsn", re.IGNORECASE
)


_MAX_SHOWN = 32_768
"""Characters of one text in a log line; of a longer one, the beginning and the end."""


def mask(text: str) -> str:
    """Hide passwords in URLs, in `password=…` and after `Bearer`."""
    if "://" in text and "@" in text:
        text = _TOKEN.sub(_without_password, text)
    # Most texts have neither, and looking for a substring costs a fiftieth.
    if "=" in text:
        text = _ASSIGNED.sub(r"\1***", text)
    return _BEARER.sub(r"\1***", text) if "bearer" in text.lower() else text


def _without_password(match: re.Match[str]) -> str:
    token = match[0]
    # The last `@` ends the user part, so passwords may hold `@` and `/`.
    end = token.rfind("@")
    scheme = _SCHEME.search(token, 0, end) if end > 0 else None
    if scheme is None:
        return token
    user, colon, _ = token[scheme.end() : end].partition(":")
    if not colon and "/" in user:
        # A path that holds an `@`; a user without a password is a token, as in https://TOKEN@host.
        return token
    return token[: scheme.end()] + (f"{user}:***" if colon else "***") + token[end:]


def _shown(text: str) -> str:
    half = _MAX_SHOWN // 2
    if len(text) <= _MAX_SHOWN:
        return mask(text)
    left_out = f"\n[{len(text) - 2 * half} characters left out]\n"
    return f"{mask(text[:half])}{left_out}{mask(text[-half:])}"


def _masked(value: object) -> object:
    """A copy without secrets; a value of no plain JSON type is shown by its `repr`, as the renderers do."""
    if isinstance(value, str):
        return _shown(value)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, Mapping):
        return {key: "***" if _SECRET_KEYS.search(str(key)) else _masked(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_masked(item) for item in value]
    return _shown(repr(value))


def _mask_event(_logger: object, _method: str, event: EventDict) -> EventDict:
    for key, value in event.items():
        event[key] = "***" if _SECRET_KEYS.search(key) else _masked(value)
    return event


class LoggedTask(Protocol):
    """A task at hand, as log lines name it."""

    def log_fields(self) -> Mapping[str, object]:
        """Its `task`, `trace`, `tenant` and more."""


_task: ContextVar[LoggedTask | None] = ContextVar("seedcore_task", default=None)


def bind_task(task: LoggedTask) -> Token[LoggedTask | None]:
    """Every line of this context names the task, until `unbind_task`; its fields are made when a line is logged."""
    return _task.set(task)


def unbind_task(bound: Token[LoggedTask | None]) -> None:
    """As before `bind_task`; nothing where the context is another one, as when a coroutine is closed from outside."""
    try:
        _task.reset(bound)
    except ValueError:
        return


def _name_task(_logger: object, _method: str, event: EventDict) -> EventDict:
    if (task := _task.get()) is not None:
        for key, value in task.log_fields().items():
            event.setdefault(key, value)
    return event


def configure_logs(settings: Settings, *, stream: TextIO | None = None) -> None:
    """Set up structlog and the standard library's logging for this process; safe to call again."""
    level = logging.getLevelNamesMapping()[settings.log_level]
    target = stream or sys.stderr
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if settings.log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=target.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _name_task,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _mask_event,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(target),
        cache_logger_on_first_use=False,
    )
    logging.getLogger("seedcore").setLevel(level)


def get_logger(name: str, **context: object) -> FilteringBoundLogger:
    """A logger bound to `name` and `context`."""
    logger: FilteringBoundLogger = structlog.get_logger()
    return logger.bind(logger=name, **context)
