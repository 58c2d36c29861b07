"""The streams' salience: who is scored, from what, and what counts while ML is away."""

import asyncio
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from seedcore.changepoint.features import TASK_COLUMNS, TASK_SIZE, outcome_features
from seedcore.coordinator.monitors.stream_monitors import StreamMonitors
from seedcore.coordinator.monitors.stream_salience import ACTIVE_S, KEPT_S, StreamSalience, stream_features
from seedcore.decision.salience import formula
from seedcore.errors import UnavailableError
from seedcore.schemas.ml.models import ModelRef
from seedcore.schemas.ml.salience import SalienceResponse, SalienceScore
from seedcore.settings import Settings, load_settings
from seedcore.stores.postgres import Database
from seedcore.telemetry.metrics.metric_registry import REGISTRY

FALLBACKS = "seedcore_fallbacks_total"


class Learned:
    """An ML service whose champion says 0.9 of everything; while `away` it does not answer."""

    def __init__(self) -> None:
        self.away = False
        self.asked: list[Sequence[Mapping[str, float | None]]] = []

    async def score_salience(self, items: Sequence[Mapping[str, float | None]]) -> SalienceResponse:
        self.asked.append(items)
        if self.away:
            raise UnavailableError("ML is away.")
        model = ModelRef(name="salience", version=3)
        return SalienceResponse(scores=[SalienceScore(score=0.9, source="learned", model=model) for _ in items])


class Bench:
    """Streams, their salience and a clock; the database cannot be reached unless one is given."""

    def __init__(self, settings: Settings | None = None) -> None:
        unreachable = load_settings(pg_dsn="postgresql://nobody@127.0.0.1:1/none")
        self.database = Database(settings or unreachable)
        self.streams, self.ml, self.changed, self.now = StreamMonitors(restored=True), Learned(), asyncio.Event(), 0.0
        self.wanted = True
        self.salience = StreamSalience(
            self.streams, self.database, self.ml, lambda: self.wanted, self.changed, lambda: self.now
        )

    def see(self, type_: str, failed: int = 0, ok: int = 0, size: int = 0) -> None:
        rows = np.zeros((failed + ok, TASK_COLUMNS))
        rows[:, TASK_SIZE] = np.log1p(size)
        ends = [outcome_features(1.0, n >= failed, None) for n in range(failed + ok)]
        self.streams.observe([{"type": type_, "seen": failed + ok, "tasks": rows.tolist(), "outcomes": ends}])


@pytest.fixture(autouse=True)
def _fresh():
    REGISTRY.configure(enabled=True, max_types=64)
    REGISTRY.take()
    yield
    REGISTRY.take()


@pytest.mark.integration
async def test_active_streams_are_scored_in_one_request_and_published(pg_settings: Settings):
    bench = Bench(pg_settings)
    bench.see("a", ok=3)
    bench.see("b", failed=1, ok=1)
    await bench.salience.step()
    assert bench.salience.published == {"a": 0.9, "b": 0.9}
    assert [len(items) for items in bench.ml.asked] == [2]
    assert bench.changed.is_set()
    bench.changed.clear()
    await bench.salience.step()
    assert not bench.changed.is_set()
    bench.now += ACTIVE_S + 1
    bench.see("b", ok=1)
    await bench.salience.step()
    assert bench.salience.published == {"b": 0.9}
    await bench.database.aclose()


async def test_without_a_rule_that_asks_nothing_is_scored_and_nothing_published(pg_settings: Settings):
    bench = Bench(pg_settings)
    bench.wanted = False
    bench.see("a", ok=3)
    await bench.salience.step()
    assert (bench.ml.asked, bench.salience.published) == ([], {})
    assert bench.salience.health()["wanted"] is False


@pytest.mark.integration
async def test_while_ml_is_away_the_last_score_counts_for_a_while_and_then_the_formula(pg_settings: Settings):
    bench = Bench(pg_settings)
    bench.see("a", failed=2, ok=2)
    await bench.salience.step()
    bench.ml.away = True
    bench.see("a", failed=2)
    bench.see("b", failed=1)
    await bench.salience.step()
    assert bench.salience.published == {"a": 0.9, "b": pytest.approx(0.7)}
    assert bench.salience.health() | {"failing": "ML is away."} == bench.salience.health()
    assert (bench.salience.health()["learned"], bench.salience.health()["formula"]) == (1, 1)
    bench.now += KEPT_S + 1
    bench.see("a", failed=1)
    await bench.salience.step()
    stream = bench.streams.get("a")
    assert stream is not None
    assert bench.salience.published["a"] == round(formula(stream_features(stream, 0)), 3)
    assert REGISTRY.take().counts[FALLBACKS] == {("salience_formula",): 2}
    bench.ml.away = False
    await bench.salience.step()
    assert "failing" not in bench.salience.health()
    await bench.database.aclose()


def test_a_streams_features_are_those_of_its_last_tasks():
    bench = Bench()
    bench.see("a", failed=1, ok=3, size=2047)
    stream = bench.streams.get("a")
    assert stream is not None
    found = stream_features(stream, 4)
    assert found == {
        "valve_evidence": None,
        "dead_letters": 4,
        "failure_share": 0.25,
        "seconds_ratio": 1.0,
        "params_bytes": pytest.approx(2047, abs=1),
    }
    bench.see("a", ok=200)
    stream.outcome.observe(np.array([outcome_features(6.4, True, None)] * 50, dtype=np.float32))
    assert stream_features(stream, None)["failure_share"] == 0.0
    assert 4.0 < stream_features(stream, None)["seconds_ratio"] < 8.0


@pytest.mark.integration
async def test_dead_letters_of_the_last_hour_are_counted_by_stream(pg_settings: Settings):
    bench = Bench(pg_settings)
    async with bench.database.connection() as connection:
        for n, (domain, age, code) in enumerate(
            [("shop", 1, "skill_failed"), ("shop", 1, "skill_failed"), ("shop", 7200, "skill_failed"),
             (None, 1, "skill_failed"), ("shop", 1, "policy_rejected")]
        ):  # fmt: skip
            await connection.execute(
                "with t as (insert into seedcore.tasks (id, type, domain, params, max_attempts)"
                " values (seedcore.new_id(), 'a', $1, '{}', 3) returning id)"
                " insert into seedcore.dead (id, tick, attempts, error_code, finished_at)"
                " select id, $2, 1, $3, now() - make_interval(secs => $4) from t",
                domain, n, code, age,
            )  # fmt: skip
    bench.streams.observe(
        [{"type": "a", "domain": "shop", "seen": 1}, {"type": "a", "seen": 1}, {"type": "b", "seen": 1}]
    )
    await bench.salience.step()
    assert [item["dead_letters"] for item in bench.ml.asked[0]] == [1, 0, 2]
    await bench.database.aclose()


@pytest.mark.integration
async def test_while_the_database_is_away_dead_letters_are_unknown():
    bench = Bench()
    bench.see("a", ok=1)
    await bench.salience.step()
    assert [item["dead_letters"] for item in bench.ml.asked[0]] == [None]
    assert bench.salience.published == {"a": 0.9}
    await bench.database.aclose()


async def test_an_incident_without_a_stream_has_the_salience_of_its_evidence():
    bench = Bench()
    assert (await bench.salience.of_incident(None, 0.8))["score"] == 0.9
    bench.ml.away = True
    answer = await bench.salience.of_incident("unseen", 0.5)
    assert answer == {
        "score": pytest.approx(0.3),
        "source": "formula",
        "model": None,
        "features": {"valve_evidence": 0.5},
    }
