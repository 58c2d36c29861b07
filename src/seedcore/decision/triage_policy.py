"""The policy's part for triages: the allowed actions, what each costs, and the losses when a hypothesis is true."""

from fnmatch import fnmatchcase
from typing import Annotated, Literal, Self, TypedDict

from pydantic import BaseModel, ConfigDict, Field, model_validator

NONE = "none"
MAX_ACTIONS = 50

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Pattern = Annotated[str, Field(pattern=r"^[A-Za-z0-9._*?-]{1,64}$")]
Loss = Annotated[float, Field(ge=-1e9, le=1e9, allow_inf_nan=False)]

# In units of one needless message to a person. Without an action the cause keeps doing harm. A person who is notified
# prevents most of it. A held stream does no harm, but all its tasks wait, needlessly where the cause lies elsewhere. A
# valve that is recalibrated ends alarms about work that changed, and hides every other cause. Training costs computing
# time and can do no harm, because a candidate must prove itself before it answers; it helps against nothing else.
COSTS: dict[str, float] = {NONE: 0.0, "notify": 1.0, "hold": 4.0, "recalibrate": 0.5, "retrain": 1.0}
LOSSES: dict[str, dict[str, float]] = {
    NONE: {
        "input": 1,
        "agent": 5,
        "host": 8,
        "change": 8,
        "environment": 8,
        "work_changed": 4,
        "incident": 3,
        "model_outdated": 6,
    },
    "notify": {
        "input": 0.2,
        "agent": 1,
        "host": 2,
        "change": 2,
        "environment": 2,
        "work_changed": 1,
        "incident": 0.5,
        "model_outdated": 2,
    },
    "hold": {
        "chance": 8,
        "input": 8,
        "agent": 4,
        "host": 4,
        "environment": 2,
        "incident": 2,
        "model_outdated": 6,
    },
    "recalibrate": {
        "chance": 1,
        "input": 3,
        "agent": 8,
        "host": 10,
        "change": 12,
        "environment": 10,
        "incident": 4,
        "model_outdated": 6,
    },
    "retrain": {
        "input": 1,
        "agent": 5,
        "host": 8,
        "change": 8,
        "environment": 8,
        "work_changed": 4,
        "incident": 3,
        "model_outdated": 0.5,
    },
}

_RETRAIN = {"models", "every_s", "per_day", "rows", "fresh_rows", "params"}
_OWN_FIELDS = {
    "hold": {"hold_s", "wait_s"},
    "notify": {"webhook"},
    "submit": {"task"},
    "recalibrate": set(),
    "retrain": _RETRAIN,
}


class Requires(BaseModel):
    """A condition on a fact of the triage; see docs/triage.md for the facts."""

    model_config = ConfigDict(extra="forbid")

    fact: str = Field(min_length=1, max_length=100)
    op: Literal["==", "!=", "<", "<=", ">", ">="]
    value: bool | int | float | str


class ActionPolicy(BaseModel):
    """One allowed action: what its decision is based on, and its parameters.

    Attributes:
        cost: the cost whatever is true.
        losses: further cost when a hypothesis is true, by kind or name; `otherwise` for hypotheses not in it.
        hold_s, wait_s: how long the stream is held, and how long each of its tasks waits for a person.
        webhook: the name of one of SEEDCORE_WEBHOOKS.
        task: the task to submit; the Coordinator validates it when it loads the policy.
        options: parameters of a user's own action.
        models: models that may be retrained, by name or pattern (`*` and `?`).
        every_s: the least time between two retrainings of a model.
        per_day: how many retrainings of all models may begin within 24 hours.
        rows: how many of the newest labelled rows are trained on at most.
        fresh_rows: labelled rows since the change that are needed before training is worth it.
        params: training parameters that differ from the champion's.
    """

    model_config = ConfigDict(extra="forbid")

    cost: Loss | None = None
    losses: dict[str, Loss] | None = Field(None, max_length=100)
    otherwise: Loss = 0.0
    requires: list[Requires] = Field(default_factory=list, max_length=20)
    hold_s: float = Field(3600.0, ge=1, le=2_592_000, allow_inf_nan=False)
    wait_s: float | None = Field(None, ge=1, le=31_536_000, allow_inf_nan=False)
    webhook: Name | None = None
    task: dict[str, object] | None = None
    options: dict[str, object] = Field(default_factory=dict, max_length=100)
    models: list[Pattern] = Field(default_factory=list, max_length=100)
    every_s: float = Field(3600.0, ge=1, le=2_592_000, allow_inf_nan=False)
    per_day: int = Field(6, ge=1, le=1000)
    rows: int = Field(20_000, ge=20, le=1_000_000)
    fresh_rows: int = Field(200, ge=20, le=1_000_000)
    params: dict[str, object] = Field(default_factory=dict, max_length=50)

    def trains(self, model: str) -> bool:
        """Whether the action `retrain` is for this model."""
        return any(fnmatchcase(model, pattern) for pattern in self.models)


class ActionOption(TypedDict):
    """An action as an option of a decision under uncertainty."""

    name: str
    cost: float
    losses: dict[str, float]
    otherwise: float


class TriagePolicy(BaseModel):
    """The allowed actions; `none` always is. `default` is taken when there is no anomaly."""

    model_config = ConfigDict(extra="forbid")

    default: Name = NONE
    actions: dict[Name, ActionPolicy] = Field(
        default_factory=lambda: {"notify": ActionPolicy()}, max_length=MAX_ACTIONS
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.default != NONE and self.default not in self.actions:
            raise ValueError(f"default is {self.default!r}, which is not among actions")
        special = set().union(*_OWN_FIELDS.values()) | {"options"}
        for name, given in self.actions.items():
            unknown = sorted((given.model_fields_set & special) - _OWN_FIELDS.get(name, {"options"}))
            if name != NONE and unknown:
                raise ValueError(f"actions.{name} does not take {', '.join(unknown)}")
            if name == "retrain" and not given.models:
                raise ValueError("actions.retrain needs models: names or patterns of those that may be retrained")
            if name == "retrain" and given.fresh_rows > given.rows:
                raise ValueError("actions.retrain: fresh_rows is more than rows")
        return self

    def option(self, name: str) -> ActionOption:
        """The action with its cost and losses."""
        given = self.actions.get(name, ActionPolicy())
        cost = COSTS.get(name, 1.0) if given.cost is None else given.cost
        # An action without losses is assumed to prevent nothing.
        losses = LOSSES.get(name, LOSSES[NONE]) if given.losses is None else given.losses
        return {"name": name, "cost": cost, "losses": losses, "otherwise": given.otherwise}
