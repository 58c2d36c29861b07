"""What a triage can do: functions by name, the built-in ones and those of SEEDCORE_TRIAGE_ACTIONS."""

import importlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeVar
from uuid import UUID

from seedcore.coordinator.monitors.maintenance import Tending
from seedcore.coordinator.monitors.stream_holds import Holds
from seedcore.coordinator.triage.webhooks import Webhooks
from seedcore.decision.triage_policy import NONE, ActionPolicy
from seedcore.errors import SettingsError
from seedcore.settings import Settings
from seedcore.stores.postgres import Database
from seedcore.tasks.submission.validate import Submission

_MARK = "__seedcore_triage_action__"


@dataclass(frozen=True, slots=True)
class Tools:
    """What actions work with."""

    database: Database
    holds: Holds
    tending: Tending
    submission: Submission
    webhooks: Webhooks


@dataclass(frozen=True, slots=True)
class Call:
    """An action that is to be done.

    Attributes:
        id: of the triage; a good idempotency key.
        stream: what it is about; None: series that were given.
        policy: what the policy says of this action; `policy.options` are for actions of one's own.
        told: what came in, was found, reasoned and decided, as JSON.
        tools: what there is to work with.
        task, webhook: what the request names instead of the policy.
    """

    id: UUID
    stream: str | None
    policy: ActionPolicy
    told: Mapping[str, Any]
    tools: Tools
    task: Mapping[str, Any] | None = None
    webhook: str | None = None


Act = Callable[[Call], Awaitable[dict[str, Any]]]
"""Does it; the answer is recorded as its result. A SeedCoreError is recorded as its failure."""

Function = TypeVar("Function", bound=Act)


def action(name: str) -> Callable[[Function], Function]:
    """Make a function an action that the policy may allow by `name`."""

    def mark(function: Function) -> Function:
        setattr(function, _MARK, name)
        return function

    return mark


def load_actions(settings: Settings) -> dict[str, Act]:
    """Every action by name.

    Raises:
        SettingsError: a module cannot be imported or defines none, or two actions share a name.
    """
    found: dict[str, Act] = {}
    for module_name in ("seedcore.coordinator.triage.builtin_actions", *settings.triage_action_modules):
        try:
            module = importlib.import_module(module_name)
        except (Exception, SystemExit) as error:
            what = f"{type(error).__name__}: {error}"
            raise SettingsError(
                f"SEEDCORE_TRIAGE_ACTIONS: module {module_name!r} cannot be imported ({what})."
            ) from error
        own = dict(_marked(module))
        if not own:
            raise SettingsError(f"SEEDCORE_TRIAGE_ACTIONS: module {module_name!r} defines no action.")
        if twice := sorted(own.keys() & found.keys() | own.keys() & {NONE}):
            raise SettingsError(f"Two triage actions are called {twice[0]!r}.")
        found |= own
    return found


def _marked(module: ModuleType) -> Iterable[tuple[str, Act]]:
    for value in vars(module).values():
        name = getattr(value, _MARK, None)
        if isinstance(name, str):
            yield name, value
