"""A plain `def`: blocking work runs in a thread of the host, and checks now and then whether it was cancelled."""

import csv
import io
from decimal import Decimal, InvalidOperation

from pydantic import BaseModel, Field

from seedcore.skills import SkillContext, SkillError, skill

CHECK_EVERY = 1000


class Ledger(BaseModel):
    """CSV with the columns `account` and `amount`."""

    csv: str = Field(max_length=200_000)


class Statement(BaseModel):
    """The balance of each account."""

    balances: dict[str, Decimal]
    rows: int


@skill("acme.statement", organ="billing", timeout_s=30, role="accountant")
def statement(params: Ledger, context: SkillContext) -> Statement:
    """Compute the balances of the accounts in a ledger."""
    reader = csv.DictReader(io.StringIO(params.csv, newline=""))
    if not {"account", "amount"} <= set(reader.fieldnames or ()):
        raise SkillError("the ledger needs the columns account and amount", retryable=False)
    balances: dict[str, Decimal] = {}
    rows = 0
    for rows, row in enumerate(reader, 1):
        if rows % CHECK_EVERY == 0 and context.cancelled:
            break  # the attempt is over, and its result will be discarded
        try:
            amount = Decimal(row["amount"])
        except (InvalidOperation, TypeError):
            raise SkillError(f"row {rows}: {row['amount']!r} is not an amount", retryable=False) from None
        balances[row["account"]] = balances.get(row["account"], Decimal(0)) + amount
    return Statement(balances=balances, rows=rows)
