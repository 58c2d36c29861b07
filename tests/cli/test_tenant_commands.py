"""`seedcore tenant`, as an operator runs it against a gateway."""

import json

import pytest

from .conftest import Command

pytestmark = pytest.mark.integration


def test_weights_are_set_and_listed(command: Command):
    assert command("tenant", "set", "acme", "--weight", "4") == "acme  weight 4\n"
    assert json.loads(command("tenant", "set", "beta", "--weight", "2", "--json")) == {"name": "beta", "weight": 2}
    assert command("tenant", "list") == "acme  weight 4  ready 0\nbeta  weight 2  ready 0\n"
    assert json.loads(command("tenant", "list", "--json"))[0] == {"name": "acme", "weight": 4, "ready": 0}


def test_a_weight_out_of_bounds_is_refused(command: Command):
    assert "weight" in command("tenant", "set", "acme", "--weight", "1001", status=2)
