"""Imports a package without the optional ones that it would load with it: every process of a start pays for them."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import cast

_HIDING = threading.RLock()


@contextmanager
def nothing_hidden() -> Iterator[None]:
    """What is imported inside finds every package that is installed, whatever another thread hides meanwhile."""
    with _HIDING:
        yield


@contextmanager
def without(*packages: str) -> Iterator[None]:
    """What is imported inside finds these packages missing; those that are loaded already it finds, as everybody does.

    Only for packages that the imported one treats as optional; another thread that needs them imports them inside
    `nothing_hidden`.
    """
    with _HIDING:
        hidden = [name for name in packages if name not in sys.modules]
        # Python's own way to say that there is no such module.
        modules = cast(dict[str, object], sys.modules)
        modules.update(dict.fromkeys(hidden))
        try:
            yield
        finally:
            for name in hidden:
                modules.pop(name, None)


@contextmanager
def empty(*modules: str) -> Iterator[None]:
    """What is imported inside finds these modules empty, unless they are loaded already.

    Only for modules that a package loads and that nothing here uses, such as its command line.
    """
    replaced = [name for name in modules if name not in sys.modules]
    sys.modules.update({name: ModuleType(name) for name in replaced})
    try:
        yield
    finally:
        for name in replaced:
            sys.modules.pop(name, None)
