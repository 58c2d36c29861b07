"""Budgets of language models: reserved before a call, settled after it, spent when its process is killed."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from typing import Any

import pytest

from seedcore.llm.budget_scope import BudgetScope
from seedcore.llm.budgets import BudgetRow, ModelBudgets
from seedcore.llm.model_errors import BudgetExceededError
from seedcore.settings import Settings, load_settings
from seedcore.stores.postgres import Database

SCOPE = BudgetScope(plan="p-1", key="ci", tenant="acme")


@pytest.fixture
async def database(llm_settings: Settings) -> AsyncIterator[Database]:
    made = Database(llm_settings, size=8)
    yield made
    await made.aclose()


def budgets_with(database: Database, **limits: float) -> ModelBudgets:
    settings = database.settings
    more: dict[str, Any] = {f"llm_budget_{name}": limit for name, limit in limits.items()}
    return ModelBudgets(load_settings(data_dir=settings.data_dir, pg_dsn=settings.pg_dsn, **more), database)


async def spent(budgets: ModelBudgets) -> dict[str, BudgetRow]:
    return {row.kind: row for row in await budgets.spent("p-1")}


async def test_a_call_counts_in_every_budget_that_it_has(database: Database):
    budgets = budgets_with(database)
    reservation = await budgets.reserve(SCOPE, 100, 0.5)
    assert {(r.kind, r.name, r.tokens, r.money, r.calls) for r in await budgets.spent("p-1")} == {
        ("plan", "p-1", 100, 0.5, 1),
        ("key", "ci", 100, 0.5, 1),
        ("tenant", "acme", 100, 0.5, 1),
        ("day", "all", 100, 0.5, 1),
    }
    await budgets.settle(reservation, 30, 0.1)
    assert {(r.tokens, round(r.money, 6)) for r in await budgets.spent("p-1")} == {(30, 0.1)}


@pytest.mark.parametrize("kind", ["plan", "key", "tenant", "day"])
@pytest.mark.parametrize("unit", ["tokens", "money"])
async def test_over_any_budget_nothing_is_reserved_in_any(database: Database, kind: str, unit: str):
    budgets = budgets_with(database, **{f"{kind}_{unit}": 10})
    await budgets.reserve(SCOPE, 6, 6)
    with pytest.raises(BudgetExceededError) as caught:
        await budgets.reserve(SCOPE, 6, 6)
    assert caught.value.extra["budget"] == kind
    assert (caught.value.status, caught.value.transient) == (429, False)
    assert (caught.value.retry_after_s is None) == (kind == "plan")
    assert {(row.tokens, row.calls) for row in (await spent(budgets)).values()} == {(6, 1)}


async def test_a_plan_has_the_smaller_of_its_own_and_the_settings_limit(database: Database):
    budgets = budgets_with(database, plan_tokens=100)
    with pytest.raises(BudgetExceededError):
        await budgets.reserve(BudgetScope(plan="a", plan_tokens=10), 11, 0)
    with pytest.raises(BudgetExceededError):
        await budgets.reserve(BudgetScope(plan="b", plan_tokens=1000), 101, 0)
    await budgets.reserve(BudgetScope(plan="b", plan_tokens=1000), 100, 0)


async def test_a_thousand_calls_at_once_never_exceed_the_limit(database: Database):
    budgets = budgets_with(database, day_tokens=10_000, tenant_tokens=9_000)

    async def call(number: int) -> bool:
        # Names in every order: rows are locked in one.
        scope = BudgetScope(plan=f"p{number % 7}", key=f"k{number % 5}", tenant=f"t{number % 2}")
        try:
            await budgets.reserve(scope, 25, 0)
        except BudgetExceededError:
            return False
        return True

    sent = await asyncio.gather(*map(call, range(1000)))
    assert sum(sent) == 400
    assert (await spent(budgets))["day"].tokens == 10_000


async def test_reservations_of_a_killed_process_count_as_spent(database: Database):
    settings = database.settings
    assert settings.pg_dsn is not None
    program = """
        import asyncio, sys
        from pathlib import Path
        from seedcore.llm.budget_scope import BudgetScope
        from seedcore.llm.budgets import ModelBudgets
        from seedcore.settings import load_settings
        from seedcore.stores.postgres import Database

        async def main():
            settings = load_settings(data_dir=Path(sys.argv[1]), pg_dsn=sys.argv[2])
            budgets = ModelBudgets(settings, Database(settings))
            await asyncio.gather(*(budgets.reserve(BudgetScope(), 10, 0) for _ in range(20)))
            print("reserved", flush=True)
            await asyncio.Event().wait()

        asyncio.run(main())
    """
    command = [
        sys.executable,
        "-c",
        textwrap.dedent(program),
        str(settings.data_dir),
        settings.pg_dsn.get_secret_value(),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": "src"}) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"reserved\n"
        process.send_signal(signal.SIGKILL)
    budgets = budgets_with(database, day_tokens=205)
    assert (await spent(budgets))["day"].tokens == 200
    with pytest.raises(BudgetExceededError):
        await budgets.reserve(BudgetScope(), 6, 0)


async def test_rows_of_last_month_go_with_the_first_call_of_a_day(database: Database):
    budgets = budgets_with(database)
    async with database.connection() as connection:
        await connection.execute(
            "insert into seedcore.llm_budgets (kind, name, day, updated_at) values "
            "('plan', 'p-1', '1970-01-01', now() - interval '36 days'), ('plan', 'new', '1970-01-01', now())"
        )
    await budgets.reserve(BudgetScope(), 1, 0)
    async with database.connection() as connection:
        names = await connection.fetch("select name from seedcore.llm_budgets where kind = 'plan'")
    assert [row["name"] for row in names] == ["new"]
