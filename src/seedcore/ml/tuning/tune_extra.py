"""Whether the extra `tune` is installed, found out without importing it."""

from importlib.util import find_spec

from seedcore.errors import NotConfiguredError

_SEARCH = ("optuna", "pandas", "pyarrow")
"""Beside Ray itself, which every SeedCore has: what `ray[tune]` brings, and the sampler."""


def require_search() -> None:
    """Check that a search can run here.

    Raises:
        NotConfiguredError: a package of the extra `tune` is missing.
    """
    _require("Tuning", _SEARCH)


def require_plots() -> None:
    """Check that plots can be drawn here.

    Raises:
        NotConfiguredError: matplotlib is missing.
    """
    _require("A plot", ("matplotlib",))


def _require(what: str, packages: tuple[str, ...]) -> None:
    missing = [name for name in packages if not _is_there(name)]
    if missing:
        raise NotConfiguredError(f"{what} needs {', '.join(missing)}: `pip install 'seedcore[tune]'`.")


def _is_there(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):  # a module that was put aside or half imported
        return False
