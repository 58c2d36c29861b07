"""docs/configuration.md is what the settings class says."""

from pathlib import Path

import pytest

from seedcore.cli.config_docs import configuration_page
from seedcore.settings import SECRET_FIELDS, Settings, env_names

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == configuration_page(), "run `make docs`"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_variable_is_in_exactly_one_row(name: str) -> None:
    rows = [line for line in configuration_page().splitlines() if line.startswith(f"| `{env_names(name)[0]}`")]
    assert len(rows) == 1
    assert all(f"`{variable}`" in rows[0] for variable in env_names(name))
    assert ("(secret)" in rows[0]) == (name in SECRET_FIELDS)


def test_nothing_of_this_machine_is_on_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    assert "/home/somebody" not in configuration_page()
    assert str(Path.home()) not in configuration_page() or str(Path.home()) == "/"
