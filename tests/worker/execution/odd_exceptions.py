"""What a skill may raise: exceptions that misbehave when they are looked at, and those that end loops."""

import asyncio
from typing import Any, NoReturn

from seedcore.errors import SkillError


class _OddName(type):
    @property
    def __name__(cls) -> NoReturn:
        raise RuntimeError("no name")

    def __instancecheck__(cls, instance: object) -> NoReturn:
        raise RuntimeError("no instance check")


class OddMetaclassError(Exception, metaclass=_OddName):
    pass


class _NoSubclassCheck(type):
    def __subclasscheck__(cls, subclass: type) -> NoReturn:
        raise RuntimeError("no subclass check")


class NotToBeRaisedError(Exception, metaclass=_NoSubclassCheck):
    """Python itself asks when it is raised, so what a skill lets out is the other error."""


class NoStrError(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


class NoReprError(Exception):
    def __repr__(self) -> str:
        raise ValueError("no repr")


class CancelledWhenReadError(Exception):
    def __str__(self) -> str:
        raise asyncio.CancelledError


class ExitsWhenReadError(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


class NumberAsTextError(Exception):
    def __str__(self) -> Any:
        return 7


class NoClassError(Exception):
    @property
    def __class__(self) -> Any:
        raise RuntimeError("no class")


class NoNotesError(Exception):
    @property
    def __notes__(self) -> NoReturn:
        raise KeyboardInterrupt


class NoPickleError(Exception):
    def __init__(self, a: int, b: int) -> None:
        super().__init__("cannot be pickled")
        self.hold = lambda: (a, b)

    def __reduce__(self) -> NoReturn:
        raise TypeError("not to be pickled")


class _OddText(str):
    __slots__ = ()

    def __format__(self, spec: str) -> NoReturn:
        raise ValueError("no format")

    def __getitem__(self, key: object) -> NoReturn:
        raise ValueError("no part")


class OddTextError(Exception):
    def __str__(self) -> str:
        return _OddText("odd text")


class HandedBackError(SkillError):
    """Claims to be what a host says of a call that never began: the attempt would not count."""

    code = "handed_back"


class CancelledCodeError(SkillError):
    code = "cancelled"


class OddCodeError(SkillError):
    code = ["a", "list"]  # type: ignore[assignment]


class BareError(SkillError):
    def __init__(self) -> None:
        """Leaves out what its base sets."""


def _nested(depth: int) -> BaseException:
    error: BaseException = SystemExit("innermost")
    for _ in range(depth):
        error = BaseExceptionGroup("group", [error])
    return error


def _chain(length: int) -> BaseException:
    error = RuntimeError("first")
    for _ in range(length):
        following = RuntimeError("later")
        following.__cause__, error = error, following
    return error


ODD: dict[str, tuple[Any, str]] = {
    "stop": (StopIteration("over"), "StopIteration"),
    "stop-async": (StopAsyncIteration("over"), "StopAsyncIteration: over"),
    "generator-exit": (GeneratorExit("out"), "GeneratorExit: out"),
    "interrupt": (KeyboardInterrupt("now"), "KeyboardInterrupt: now"),
    "exit": (SystemExit(3), "SystemExit: 3"),
    "cancelled": (asyncio.CancelledError("me"), "CancelledError"),
    "memory": (MemoryError(), "MemoryError: "),
    "recursion": (RecursionError("deep"), "RecursionError: deep"),
    "group": (BaseExceptionGroup("many", [SystemExit(1), ValueError("x")]), "BaseExceptionGroup: many"),
    "nested": (_nested(3000), "BaseExceptionGroup: group"),
    "chain": (_chain(3000), "RuntimeError: later"),
    "no-str": (NoStrError(), "NoStrError: no text, ValueError when it was read"),
    "no-repr": (NoReprError("fine"), "NoReprError: fine"),
    "cancelled-str": (CancelledWhenReadError(), "CancelledWhenReadError: no text, CancelledError when it was read"),
    "exit-str": (ExitsWhenReadError(), "ExitsWhenReadError: no text, SystemExit when it was read"),
    "number-str": (NumberAsTextError(), "NumberAsTextError: no text, TypeError when it was read"),
    "no-class": (NoClassError("x"), "NoClassError: x"),
    "no-notes": (NoNotesError("x"), "NoNotesError: x"),
    "odd-meta": (OddMetaclassError("x"), "OddMetaclassError: x"),
    "no-subclass-check": (NotToBeRaisedError("x"), "RuntimeError: no subclass check"),
    "odd-text": (OddTextError(), "OddTextError: odd text"),
    "unpicklable": (NoPickleError(1, 2), "NoPickleError: cannot be pickled"),
    "not-an-exception": (7, "TypeError: exceptions must derive from BaseException"),
    "huge": (RuntimeError("://a." * 10**6), "RuntimeError: ://a"),
    "surrogate": (RuntimeError("a\ud800b\0c"), "RuntimeError: a?b\N{REPLACEMENT CHARACTER}c"),
    "handed-back": (HandedBackError("again"), "again"),
    "cancelled-code": (CancelledCodeError("not by a client"), "not by a client"),
    "odd-code": (OddCodeError("why"), "why"),
    "bare": (BareError(), "BareError: no text, AttributeError when it was read"),
}
"""By name: what is raised, and how the message of the failed attempt begins."""
