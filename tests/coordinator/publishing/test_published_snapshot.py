"""What changes in the snapshot: a reader that applies updates knows what one that gets the whole knows."""

from typing import Any

import orjson
import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from seedcore.coordinator.publishing import learned_log, published_parts
from seedcore.coordinator.publishing.published_parts import CurrentState
from seedcore.coordinator.publishing.published_snapshot import PublishedSnapshot
from seedcore.decision.fleet_table import Fleet
from seedcore.pricing.learned_increments import add_increments
from seedcore.pricing.money_rates import MoneyRates
from seedcore.pricing.rates import RateEstimate, RateTable
from seedcore.schemas.snapshot import SnapshotUpdate

GENERATION = 3
PLANS = {"spent": 0, "lent": 0}


def state(epoch: int = 1, **given: Any) -> CurrentState:
    routing = {"epoch": epoch, "skills": {}, "timeouts": {}, "organs": {}}
    fields = {"routing": routing, "policy": None, "streams": {}, "holds": {}, "recipe_types": [], "v": 1.0}
    return CurrentState(**{"salience": {}} | fields | given)


def outcome(agent: str, task_type: str, count: int = 1, seconds: float = 2.0) -> Any:
    return {"agent": agent, "type": task_type, "count": count, "seconds": seconds, "successes": count}


class Reader:
    """Applies updates as a worker does."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.known = 0, 0
        self.parts: dict[str, Any] = {}
        self.rates, self.money = RateTable(), MoneyRates()

    def read(self, snapshot: PublishedSnapshot) -> SnapshotUpdate:
        answer = snapshot.update(GENERATION, self.known, self.name, self.name, 1, PLANS)
        update = orjson.loads(orjson.dumps(answer))
        parts = update["parts"]
        if update["whole"]:
            self.parts = {"streams": {}, "salience": {}, "backlog": {}}
            self.rates, self.money = RateTable(), MoneyRates()
        self.rates.replace(parts.pop("rates", {}))
        self.money.replace(parts.pop("money", {}))
        for name in ("streams", "salience", "backlog"):
            self.parts[name] |= parts.pop(name, {})
        self.parts["salience"] = {name: score for name, score in self.parts["salience"].items() if score is not None}
        self.parts |= parts
        add_increments(update["learned"], self.rates, self.money, lambda _: "")
        self.known = update["generation"], update["version"]
        return answer

    @property
    def waiting(self) -> dict[str, Any]:
        return {name: value for name, value in self.parts["backlog"].items() if value}


class Readers(RuleBasedStateMachine):
    """Three workers that report and read now and then, beside one that reads the whole."""

    @initialize(entries=st.sampled_from([3, 1_000]), types=st.sampled_from([1, 1_000]), gone=st.sampled_from([1, 200]))
    def start(self, entries: int, types: int, gone: int) -> None:
        self.patched = pytest.MonkeyPatch()
        self.patched.setattr(learned_log, "MAX_ENTRIES", entries)
        self.patched.setattr(learned_log, "MAX_TYPES", types)
        self.patched.setattr(published_parts, "MAX_GONE", gone)
        self.fleet = Fleet()
        self.snapshot = PublishedSnapshot(self.fleet)
        self.readers = [Reader(f"w{n}") for n in range(3)]
        self.state = state()
        self._publish()

    def _publish(self) -> None:
        self.snapshot.parts.observe(self.state)
        self.snapshot.parts.publish()

    def teardown(self) -> None:
        if hasattr(self, "patched"):
            self.patched.undo()

    @rule(n=st.integers(0, 2), task_type=st.sampled_from("xy"), count=st.integers(1, 3))
    def a_worker_learns(self, n: int, task_type: str, count: int) -> None:
        """The worker adds its own outcomes itself: they are not in its updates."""
        given = outcome("a", task_type, count)
        self.fleet.learn("a", task_type, count, given["seconds"], count)
        self.snapshot.add_learned(f"w{n}", [given])
        if self.readers[n].known[1]:
            add_increments([given], self.readers[n].rates, self.readers[n].money, lambda _: "")

    @rule(task_type=st.sampled_from("xy"))
    def someone_pays(self, task_type: str) -> None:
        self.fleet.money_rates.add("a", task_type, 1, 3.0)
        paid = {"count": 0, "seconds": 0.0, "successes": 0, "money": 3.0, "paid": 1}
        self.snapshot.add_learned("other", [{"agent": "a", "type": task_type, **paid}])

    @rule(agent=st.sampled_from("abc"), task_type=st.sampled_from("xy"))
    def what_an_agent_had_learned_is_merged(self, agent: str, task_type: str) -> None:
        self.fleet.rates.merge_earlier(agent, task_type, RateEstimate(5.0, 9.0, 4.0))
        self.snapshot.mark_types({task_type})

    @rule(n=st.integers(0, 3), count=st.integers(0, 2))
    def a_backlog_changes(self, n: int, count: int) -> None:
        self.snapshot.parts.set_backlog(f"w{n}", [("a", "x", count)] if count else [])

    @rule(
        part=st.sampled_from(["holds", "streams", "salience", "v", "recipe_types", "routing", "policy"]),
        value=st.integers(1, 3),
    )
    def something_changes(self, part: str, value: int) -> None:
        new: dict[str, Any] = {
            "holds": {"x": {"until": float(value), "reason": "", "wait_s": None}} if value > 1 else {},
            "streams": {**self.state.streams, f"s{value}": ("closed", value / 7, None, None, False)},
            "salience": {f"s{n}": value / 7 for n in range(value - 1)},
            "v": float(value),
            "recipe_types": ["x"] * value,
            "routing": state(value).routing,
            "policy": {"source": "", "text": "", "version": str(value)},
        }
        self.state = self.state._replace(**{part: new[part]})

    @rule()
    def publish(self) -> None:
        self._publish()

    @rule(n=st.integers(0, 2))
    def read(self, n: int) -> None:
        self._publish()
        reader, whole = self.readers[n], Reader(f"w{n}")
        reader.read(self.snapshot)
        assert whole.read(self.snapshot)["whole"]
        assert reader.known == whole.known == (GENERATION, self.snapshot.version)
        assert reader.waiting == whole.waiting
        assert {**reader.parts, "backlog": 0} == {**whole.parts, "backlog": 0}
        assert whole.rates.to_json() == self.fleet.rates.to_json()
        # Outcomes of workers that report at the same time are added in another order: their number is the same.
        counts = [{name: given["count"] for name, given in r.rates.to_json().items()} for r in (reader, whole)]
        assert counts[0] == counts[1]
        money = [{t: float(r.money.expected({"a": 0}, t)[0]) for t in r.money.to_json()} for r in (reader, whole)]
        assert money[0] == pytest.approx(money[1])


Readers.TestCase.settings = hypothesis_settings(max_examples=60, stateful_step_count=40, deadline=None)
TestReaders = Readers.TestCase


def published(**given: Any) -> PublishedSnapshot:
    snapshot = PublishedSnapshot(Fleet())
    snapshot.parts.observe(state(**given))
    snapshot.parts.publish()
    return snapshot


def test_a_version_begins_only_when_something_changed():
    snapshot = published()
    assert snapshot.version == 1
    snapshot.parts.observe(state())
    assert not snapshot.parts.publish()
    snapshot.parts.observe(state(v=2.0))
    assert snapshot.parts.publish()
    assert snapshot.version == 2


def test_an_update_has_what_changed_and_nothing_else():
    snapshot, reader = published(), Reader("w")
    assert reader.read(snapshot)["whole"]
    snapshot.parts.observe(state(v=2.0))
    snapshot.add_learned("other", [outcome("a", "x"), outcome("a", "x"), outcome("b", "x")])
    snapshot.add_learned("w", [outcome("a", "x", 7)])
    snapshot.parts.publish()
    update = reader.read(snapshot)
    assert not update["whole"]
    assert update["parts"] == {"v": 2.0}
    assert update["learned"] == [outcome("a", "x", 2, 4.0), outcome("b", "x")]
    assert reader.read(snapshot)["parts"] == {}
    assert snapshot.counts == {"whole": 1, "delta": 2}


@pytest.mark.parametrize("known", [(GENERATION, 0), (GENERATION, 99), (GENERATION - 1, 1), (0, 0)])
def test_who_knows_no_version_of_this_generation_gets_the_whole(known: tuple[int, int]):
    update = published().update(GENERATION, known, "w", "w", 1, PLANS)
    assert update["whole"]
    assert set(update["parts"]) == {
        "routing", "policy", "holds", "v", "recipe_types", "streams", "salience", "backlog", "rates", "money"
    }  # fmt: skip


def test_types_whose_rates_were_merged_go_whole_without_increments_but_with_their_money():
    snapshot, reader = published(), Reader("w")
    reader.read(snapshot)
    paid = {**outcome("a", "x"), "money": 5.0, "paid": 1}
    snapshot.add_learned("other", [paid, outcome("a", "y")])
    snapshot.mark_types({"x"})
    snapshot.parts.publish()
    update = reader.read(snapshot)
    assert update["learned"] == [{**paid, "count": 0, "seconds": 0.0, "successes": 0}, outcome("a", "y")]
    assert set(update["parts"]) == {"rates"}


URGENT = [
    {"v": 2.0},
    {"policy": {"source": "", "text": "", "version": "1"}},
    {"holds": {"s": {"until": 1.0, "reason": "", "wait_s": None}}},
    {"epoch": 2},
    {"streams": {"s": ("open", 0.3, 0.3, None, False)}},
    {"streams": {"s": ("closed", 0.3, 0.3, None, True)}},
    {"streams": {"s": ("closed", None, None, None, False)}},
    {"streams": {"s": ("closed", 0.3, 0.3, None, False), "new": ("learning", None, None, None, False)}},
]
CALM = {"streams": {"s": ("closed", 0.3, 0.3, None, False)}}


@pytest.mark.parametrize("change", URGENT)
def test_what_matters_at_once_is_urgent(change: dict[str, Any]):
    snapshot = published(**CALM)
    snapshot.parts.observe(state(**CALM | change))
    snapshot.parts.publish()
    assert snapshot.parts.urgent == snapshot.version == 2


@pytest.mark.parametrize("change", [{"streams": {"s": ("closed", 0.4, 0.4, 0.1, False)}}, {"recipe_types": ["x"]}])
def test_evidence_and_recipes_go_along_with_the_next_answer(change: dict[str, Any]):
    snapshot = published(**CALM)
    snapshot.parts.observe(state(**CALM | change))
    snapshot.parts.set_backlog("w", [("a", "x", 3)])
    snapshot.parts.publish()
    assert (snapshot.version, snapshot.parts.urgent) == (2, 1)


def test_the_stored_body_is_the_whole_snapshot():
    snapshot, reader = published(), Reader("w")
    snapshot.parts.set_backlog("w", [("a", "x", 3)])
    snapshot.parts.publish()
    body = orjson.loads(snapshot.stored(GENERATION))
    whole = orjson.loads(orjson.dumps(reader.read(snapshot)["parts"]))
    assert (body["generation"], body["version"]) == (GENERATION, 2)
    assert body["parts"] == whole | {"backlog": {"w": [["a", "x", 3]]}}
