"""Budgets of language models: a call reserves what it may use before it is sent, and is settled when it has ended.

What a call reserves is an upper bound, so that calls at once never exceed a limit together. A reservation that is never
settled, because its process was killed or the answer was lost, counts as spent.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from seedcore.llm.budget_scope import BudgetScope
from seedcore.llm.model_errors import BudgetExceededError
from seedcore.settings import Settings
from seedcore.stores.postgres import DATABASE_ERRORS, Database
from seedcore.telemetry.logs import get_logger
from seedcore.telemetry.metrics import counter

RESERVE = "select seedcore.llm_reserve($1, $2, $3, $4, $5, $6, $7)"
SETTLE = "select seedcore.llm_settle($1, $2, $3, $4, $5)"
SPENT = (
    "select kind, name, tokens, money, calls from seedcore.llm_budgets where day = $1 or (kind = 'plan' and name = $2)"
)

SETTLE_WAIT_S = 2.0
PLAN_DAY = date(1970, 1, 1)
ALL = "all"
"""Name of the row of a day."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """What one call may use, added to the rows (kind, name, day) of its budgets."""

    rows: tuple[tuple[str, str, date], ...]
    tokens: float
    money: float


@dataclass(frozen=True, slots=True)
class BudgetRow:
    """What a budget has spent and reserved."""

    kind: str
    name: str
    tokens: float
    money: float
    calls: int


class ModelBudgets:
    """The rows of `llm_budgets`, with the limits of the settings."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._log = get_logger("seedcore.llm")

    async def reserve(self, scope: BudgetScope, tokens: float, money: float) -> Reservation:
        """Reserve tokens and money in every budget of a call, or in none.

        Raises:
            BudgetExceededError: one of them would be over its limit.
            UnavailableError: the database does not answer; without it no call is sent.
        """
        now = datetime.now(UTC)
        budgets = self._budgets_of(scope, now.date())
        rows = tuple((kind, name, day) for kind, name, day, _, _ in budgets)
        async with self._database.connection() as connection:
            over = await connection.fetchval(RESERVE, *zip(*budgets, strict=True), tokens, money)
        if over is not None:
            raise self._exceeded(over, now, tokens, money)
        return Reservation(rows, tokens, money)

    async def settle(self, reservation: Reservation, tokens: float, money: float) -> None:
        """Replace what was reserved by what was used; while the database does not answer, what was reserved stays."""
        more = tokens - reservation.tokens, money - reservation.money
        try:
            async with self._database.connection(wait_s=SETTLE_WAIT_S) as connection:
                await connection.execute(SETTLE, *zip(*reservation.rows, strict=True), *more)
        except DATABASE_ERRORS as error:
            self._log.warning("a reservation for a language model counts as spent", reason=str(error))

    async def spent(self, plan: str | None = None) -> list[BudgetRow]:
        """Today's rows, and that of a plan."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(SPENT, datetime.now(UTC).date(), plan)
        return [BudgetRow(*row) for row in rows]

    def _budgets_of(self, scope: BudgetScope, today: date) -> list[tuple[str, str, date, float | None, float | None]]:
        """(kind, name, day, limit of tokens, limit of money) of every row that a call counts in."""
        limits = self._settings
        found: list[tuple[str, str, date, float | None, float | None]] = []
        if scope.plan is not None:
            tokens = _least(scope.plan_tokens, limits.llm_budget_plan_tokens)
            money = _least(scope.plan_money, limits.llm_budget_plan_money)
            found.append(("plan", scope.plan, PLAN_DAY, tokens, money))
        if scope.key is not None:
            found.append(("key", scope.key, today, limits.llm_budget_key_tokens, limits.llm_budget_key_money))
        tenant = limits.llm_budget_tenant_tokens, limits.llm_budget_tenant_money
        return [
            *found,
            ("tenant", scope.tenant, today, *tenant),
            ("day", ALL, today, limits.llm_budget_day_tokens, limits.llm_budget_day_money),
        ]

    def _exceeded(self, kind: str, now: datetime, tokens: float, money: float) -> BudgetExceededError:
        counter("seedcore_model_budget_refusals_total").add(1, budget=kind)
        asked = f"the call may use {tokens:g} tokens and {money:g} of money"
        if kind == "plan":
            return BudgetExceededError(
                f"The plan's budget for language models does not hold this call: {asked}. "
                "Raise the plan's budget or LLM_BUDGET_PLAN_TOKENS and LLM_BUDGET_PLAN_MONEY.",
                budget=kind,
            )
        midnight = datetime.combine(now.date() + timedelta(days=1), time(), UTC)
        of = "The day's budget" if kind == "day" else f"The {kind}'s budget of this day"
        return BudgetExceededError(
            f"{of} for language models does not hold this call: {asked}. It is free again at 00:00 UTC; "
            f"LLM_BUDGET_{kind.upper()}_TOKENS and LLM_BUDGET_{kind.upper()}_MONEY are its limits.",
            retry_after_s=round((midnight - now).total_seconds()),
            budget=kind,
        )


def _least(*limits: float | None) -> float | None:
    return min((limit for limit in limits if limit is not None), default=None)
