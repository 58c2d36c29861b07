"""The plot of a promotion: whatever it went through, it is a small SVG document that says it in words."""

import xml.etree.ElementTree as ET
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

import pytest

from seedcore.ml.gate.gain_plot import draw_gain
from seedcore.ml.gate.gate_test import GateTerms, GateTest
from seedcore.ml.gate.promotion_repository import Promotion

Status = Literal["shadowing", "promoted", "refused", "withdrawn", "rolled_back"]
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def promotion(status: Status, evidence: dict[str, Any], champion: int | None = 1) -> Promotion:
    terms = GateTerms().to_json()
    return Promotion(UUID(int=7), "churn", champion, 2, status, False, "ann", None, NOW, NOW, None, terms, evidence, {})


def evidence_of(outcomes: int) -> dict[str, Any]:
    test = GateTest(GateTerms(max_outcomes=100_000))
    for i in range(outcomes):
        test.add_losses(float(i % 5 == 0), float(i % 7 == 0))
    return test.evidence()


@pytest.mark.parametrize("outcomes", [1, 700])
@pytest.mark.parametrize("status", ["shadowing", "promoted", "refused", "rolled_back"])
def test_the_gain_its_bounds_and_the_decision_are_drawn(status: Status, outcomes: int):
    evidence = evidence_of(outcomes) | {"rollback": {"reason": "its loss <rose> & stayed"}}
    drawn = draw_gain(promotion(status, evidence))
    text = " ".join(ET.fromstring(drawn).itertext())
    assert "needed: more than 0" in text
    assert "lower bound" in text
    assert ("rolled back" in text) == (status == "rolled_back")
    assert (f"refused at {outcomes}" in text) == (status == "refused")
    assert len(drawn) < 200_000


def test_what_had_no_outcomes_says_so():
    drawn = draw_gain(promotion("promoted", {"decided_by": "first"}, champion=None))
    assert "without outcomes" in drawn.decode()
    assert drawn == draw_gain(promotion("promoted", {"decided_by": "first"}, champion=None))
