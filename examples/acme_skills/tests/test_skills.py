import pytest
from acme_skills import match, statement, total
from pydantic import ValidationError

from seedcore.skills import SkillError
from seedcore.skills.testing import run_skill


def test_tax_is_rounded_once_for_each_rate() -> None:
    lines = [{"quantity": "3", "price": "0.35", "tax_percent": "19"}] * 3
    assert run_skill(total, {"lines": lines}) == {"net": "3.15", "tax": "0.60", "gross": "3.75"}


def test_an_invoice_without_lines_is_refused() -> None:
    with pytest.raises(ValidationError):
        run_skill(total, {"lines": []})


def test_a_statement_sums_by_account() -> None:
    found = run_skill(statement, {"csv": "account,amount\nrent,-800\nsales,1200.50\nrent,-25.10\n"})
    assert found == {"balances": {"rent": "-825.10", "sales": "1200.50"}, "rows": 3}


@pytest.mark.parametrize("text", ["account\nrent\n", "account,amount\nrent,much\n", "account,amount\nrent\n"])
def test_a_bad_ledger_is_an_error_that_no_second_attempt_mends(text: str) -> None:
    with pytest.raises(SkillError) as caught:
        run_skill(statement, {"csv": text})
    assert not caught.value.transient


def test_a_payment_settles_the_fewest_invoices_that_add_up_to_it() -> None:
    due = {"A1": 5000, "A2": 2500, "A3": 2500, "A4": 999}
    assert run_skill(match, {"cents": 5000, "open": due}) == {"invoices": ["A1"]}
    assert run_skill(match, {"cents": 3499, "open": due}) == {"invoices": ["A2", "A4"]}
    assert run_skill(match, {"cents": 1, "open": due}) == {"invoices": None}
