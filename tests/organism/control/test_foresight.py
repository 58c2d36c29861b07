"""Foresight: what the ML service forecasts becomes a load of organs; without it the measured load counts alone."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from seedcore.errors import TooLittleHistoryError, UnavailableError
from seedcore.fleet.organ_spec import OrganSpec
from seedcore.organism.control import foresight as module
from seedcore.organism.control.foresight import STEP_S, Foresight
from seedcore.organism.control.organism_view import OrganismView
from seedcore.organism.desired.desired_state import Organ
from seedcore.organism.routing.table_builder import SkillDeclarations
from seedcore.schemas.ml.scaling import ForecastPoint, ScalingResponse
from seedcore.schemas.organism import WorkerNumbers
from seedcore.telemetry.metrics.metric_registry import REGISTRY


class FakeMl:
    """Answers with a forecast that rises by one task a second with every step; or fails."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.error: Exception | None = None
        self.source = "seasonal"

    async def predict_scaling(self, request: Mapping[str, object], /) -> ScalingResponse:
        self.asked.append(str(request["type"]))
        if self.error is not None:
            raise self.error
        now = datetime.now(UTC)
        points = [
            ForecastPoint(at=now + timedelta(seconds=k * STEP_S - 1), per_s=k, low=0, high=k + 1) for k in range(5)
        ]
        return ScalingResponse.model_validate(
            {
                "forecast": points,
                "hosts": [],
                "source": self.source,
                "level": 0.8,
                "coverage": 0.8,
                "coverage_of": 100,
                "calibrated_s": 1500,
                "seasons_s": [],
                "history_s": 1e6,
                "step_s": STEP_S,
                "seconds_per_task": {"render": 2.0, "scan": 10.0},
                "notes": [],
            }
        )


def organ(name: str, skills: list[str], **spec: object) -> Organ:
    return Organ(name, OrganSpec.model_validate({"skills": skills, "agents": 8, **spec}))


@pytest.fixture
def view() -> OrganismView:
    declared = SkillDeclarations({"render": "gpu", "scan": "gpu", "echo": "utility", "fixed": "one"}, {}, {})
    view = OrganismView(declared, lambda _organ: "", WorkerNumbers(default=1, graph=1))
    own = {"isolation": "process", "hosts": {"min": 1, "max": 8}}
    view.organs = {
        "gpu": organ("gpu", ["render", "scan"], **own),
        "utility": organ("utility", ["echo"]),
        "one": organ("one", ["fixed"], isolation="process"),
    }
    return view


async def test_the_highest_bound_within_the_time_ahead_counts_for_organs_that_can_grow(view: OrganismView):
    ml = FakeMl()
    foresight = Foresight(ml, view, 2 * STEP_S, lambda: True)
    await foresight.read()
    assert ml.asked == ["render", "scan"]
    assert foresight.load("gpu") == pytest.approx(3 * 2.0 + 3 * 10.0)
    assert (foresight.load("utility"), foresight.health()["fallback"]) == (0.0, None)


async def test_without_the_ml_service_the_last_forecast_ends_and_health_says_why(
    view: OrganismView, monkeypatch: pytest.MonkeyPatch
):
    ml = FakeMl()
    foresight = Foresight(ml, view, STEP_S, lambda: True)
    await foresight.read()
    assert foresight.load("gpu") > 0
    ml.error = UnavailableError("away")
    before = REGISTRY.take().counts.get("seedcore_fallbacks_total", {}).get(("no_forecast",), 0)
    await foresight.read()
    assert REGISTRY.take().counts["seedcore_fallbacks_total"]["no_forecast",] == before + 1
    assert "away" in str(foresight.health()["fallback"])
    monkeypatch.setattr(module, "VALID_S", 0.0)
    assert foresight.load("gpu") == 0.0


@pytest.mark.parametrize("little", ["error", "source"])
async def test_too_little_history_starts_no_hosts_and_is_no_failure(view: OrganismView, little: str):
    ml = FakeMl()
    if little == "error":
        ml.error = TooLittleHistoryError("later")
    else:
        ml.source = "too_little_history"
    foresight = Foresight(ml, view, STEP_S, lambda: True)
    await foresight.read()
    assert (foresight.load("gpu"), foresight.health()["fallback"]) == (0.0, None)


async def test_an_answer_of_another_shape_is_a_fallback_and_does_not_end_reading(view: OrganismView):
    ml = FakeMl()
    foresight = Foresight(ml, view, STEP_S, lambda: True)
    ml.error = ValueError("no forecast in it")
    await foresight.read()
    assert "ValueError: no forecast in it" in str(foresight.health()["fallback"])
    ml.error = None
    await foresight.read()
    assert foresight.load("gpu") > 0
    assert foresight.health()["fallback"] is None
