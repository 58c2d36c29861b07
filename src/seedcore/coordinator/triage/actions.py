"""Registers and loads triage actions: the built-in ones and those of SEEDCORE_TRIAGE_ACTIONS, by name."""

import importlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import TypeVar
from uuid import UUID

from seedcore.coordinator.monitors.maintenance import MonitorMaintenance
from seedcore.coordinator.monitors.stream_holds import StreamHolds
from seedcore.coordinator.triage.webhooks import Webhooks
from seedcore.decision.triage_policy import NONE, ActionPolicy
from seedcore.errors import SettingsError
from seedcore.settings import Settings
from seedcore.stores.postgres import Database
from seedcore.tasks.submission.validate import Submission

_MARK = "__seedcore_triage_action__"


@dataclass(frozen=True, slots=True)
class TriageTools:
    """What actions act with; `model_jobs` is how many jobs of models may run at once."""

    database: Database
    holds: StreamHolds
    maintenance: MonitorMaintenance
    submission: Submission
    webhooks: Webhooks
    model_jobs: int


@dataclass(frozen=True, slots=True)
class ActionCall:
    """One action to carry out.

    Attributes:
        id: of the triage; a good idempotency key.
        stream: the stream of the triage; None: only series were given.
        policy: the policy for this action; `policy.options` are for users' own actions.
        record: the request, the findings, the reasons and the decision, as JSON.
        tools: what actions act with.
        task, webhook: those that the request names, which precede the policy's.
        model: the model's monitor that the request names, as JSON.
    """

    id: UUID
    stream: str | None
    policy: ActionPolicy
    record: Mapping[str, object]
    tools: TriageTools
    task: Mapping[str, object] | None = None
    webhook: str | None = None
    model: Mapping[str, object] | None = None


TriageAction = Callable[[ActionCall], Awaitable[Mapping[str, object]]]
"""Carries out an action; the answer is recorded as its result, a SeedCoreError as its failure."""

Function = TypeVar("Function", bound=TriageAction)


def action(name: str) -> Callable[[Function], Function]:
    """Make a function an action that the policy may allow by `name`."""

    def mark(function: Function) -> Function:
        setattr(function, _MARK, name)
        return function

    return mark


def load_actions(settings: Settings) -> dict[str, TriageAction]:
    """Every action by name.

    Raises:
        SettingsError: a module cannot be imported or defines none, or two actions have the same name.
    """
    found: dict[str, TriageAction] = {}
    for module_name in ("seedcore.coordinator.triage.builtin_actions", *settings.triage_action_modules):
        try:
            module = importlib.import_module(module_name)
        except (Exception, SystemExit) as error:
            reason = f"{type(error).__name__}: {error}"
            raise SettingsError(
                f"SEEDCORE_TRIAGE_ACTIONS: module {module_name!r} cannot be imported ({reason})."
            ) from error
        own = dict(_marked(module))
        if not own:
            raise SettingsError(f"SEEDCORE_TRIAGE_ACTIONS: module {module_name!r} defines no action.")
        if duplicates := sorted(own.keys() & found.keys() | own.keys() & {NONE}):
            raise SettingsError(f"Two triage actions are called {duplicates[0]!r}.")
        found |= own
    return found


def _marked(module: ModuleType) -> Iterable[tuple[str, TriageAction]]:
    for value in vars(module).values():
        name = getattr(value, _MARK, None)
        if isinstance(name, str):
            yield name, value
