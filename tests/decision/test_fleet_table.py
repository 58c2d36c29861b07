"""The fleet as the Coordinator knows it: the table, the reports, the rates."""

import pytest

from seedcore.decision import fleet_table as module
from seedcore.decision.backlog import REPORT_TTL_S, Team
from seedcore.decision.fleet_table import Fleet
from seedcore.pricing.rates import DEFAULT_SECONDS, FORGET_STEADY, RateEstimate

TABLE = {
    "epoch": 3,
    "skills": {"echo": "utility", "ml.predict": "ml"},
    "timeouts": {"echo": 5.0},
    "organs": {
        "utility": {"agents": ["u-0", "u-1"], "hosts": ["h-0", "h-1"], "host": [0, 1], "scouts": [], "archived": []},
        "ml": {"agents": ["m-0"], "hosts": ["h-2"], "host": [0], "scouts": [], "archived": []},
    },
}
ONE_LEFT = {"agents": ["u-0"], "hosts": ["h-0"], "host": [0], "scouts": [], "archived": []}


class Clock:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


@pytest.fixture
def fleet() -> Fleet:
    made = Fleet()
    made.update(TABLE)
    return made


def queued(fleet: Fleet, organ: str = "utility") -> list[float]:
    """Tasks queued at each agent of an organ, in tasks of the default length."""
    return [round(seconds / DEFAULT_SECONDS, 6) for seconds in fleet.load(team(fleet, organ)).queued_s]


def team(fleet: Fleet, organ: str = "utility") -> Team:
    found = fleet.team(organ)
    assert found is not None
    return found


def test_the_table_gives_organs_skills_and_agents(fleet: Fleet):
    assert fleet.epoch == 3
    assert fleet.skills == ["echo", "ml.predict"]
    assert (fleet.organ_of("echo"), fleet.organ_of("nope")) == ("utility", None)
    utility = team(fleet)
    assert (utility.ids, [utility.hosts[n] for n in utility.host]) == (["u-0", "u-1"], ["h-0", "h-1"])
    assert fleet.team("nowhere") is None


def test_a_table_that_is_unchanged_changes_nothing(fleet: Fleet):
    fleet.update({"epoch": 3, "unchanged": True})
    assert (fleet.epoch, team(fleet).ids) == (3, ["u-0", "u-1"])


def test_the_table_gives_each_agents_lifecycle(fleet: Fleet):
    columns = {"agents": list("abcd"), "hosts": ["h"], "host": [0] * 4, "scouts": [1], "archived": [3]}
    fleet.update({**TABLE, "organs": {"utility": columns}})
    utility = team(fleet)
    assert (utility.employed.tolist(), utility.scouts.tolist(), utility.archived.tolist()) == ([0, 2], [1], [3])


def test_a_new_table_replaces_the_old_one_and_keeps_what_was_learned(fleet: Fleet):
    fleet.learn("u-0", "echo", 40, 80.0, 40)
    before = fleet.rates.seconds("u-0", "echo", "utility")
    fleet.update({"epoch": 4, "skills": {"echo": "utility"}, "timeouts": {}, "organs": {"utility": ONE_LEFT}})
    assert fleet.skills == ["echo"]
    assert team(fleet).ids == ["u-0"]
    assert fleet.team("ml") is None
    assert fleet.rates.seconds("u-0", "echo", "utility") == before
    assert fleet.means(team(fleet), ["echo"])[0].tolist() == [[before]]


def test_reports_of_several_dispatchers_add_up(fleet: Fleet):
    fleet.report("one", [("u-0", "echo", 2), ("m-0", "ml.predict", 5)])
    fleet.report("two", [("u-0", "echo", 1), ("u-1", "echo", 4)])
    assert queued(fleet) == [3, 4]
    assert queued(fleet, "ml") == [5]


def test_a_report_replaces_the_one_before_of_the_same_dispatcher(fleet: Fleet):
    fleet.report("one", [("u-0", "echo", 2), ("u-1", "echo", 9)])
    fleet.report("one", [("u-1", "echo", 1)])
    assert queued(fleet) == [0, 1]
    fleet.report("one", [])
    assert queued(fleet) == [0, 0]


def test_the_report_of_a_dispatcher_that_is_gone_expires(fleet: Fleet, clock: Clock):
    fleet.report("gone", [("u-0", "echo", 7)])
    clock.now += REPORT_TTL_S / 2
    fleet.report("alive", [("u-1", "echo", 1)])
    assert queued(fleet) == [7, 1]
    clock.now += REPORT_TTL_S / 2 + 0.1
    assert queued(fleet) == [0, 1]
    clock.now += REPORT_TTL_S
    assert queued(fleet) == [0, 0]


def test_what_waits_is_counted_in_seconds_of_agent_and_type(fleet: Fleet):
    fleet.learn("u-0", "echo", 40, 80.0, 40)
    fleet.report("one", [("u-0", "echo", 3), ("u-1", "echo", 3)])
    slow, average = fleet.load(team(fleet)).queued_s
    assert slow == pytest.approx(3 * fleet.rates.seconds("u-0", "echo", "utility"))
    assert average == pytest.approx(3 * fleet.rates.seconds("u-1", "echo", "utility"))


def test_work_at_an_agent_that_the_table_lost_counts_for_no_agent(fleet: Fleet):
    fleet.report("one", [("lost", "echo", 3)])
    assert queued(fleet) == [0, 0]


def test_rates_come_as_a_table_of_agents_by_types(fleet: Fleet):
    fleet.learn("u-0", "echo", 40, 80.0, 10)
    service = fleet.means(team(fleet), ["echo", "ml.predict"])[0]
    failure = fleet.means(team(fleet), ["echo", "ml.predict"])[1]
    assert service.shape == failure.shape == (2, 2)
    assert service[0, 0] == fleet.rates.seconds("u-0", "echo", "utility")
    assert failure[0, 0] == 1 - fleet.rates.success("u-0", "echo", "utility") > 0.5
    assert failure[:, 1].tolist() == [0, 0]


def test_what_is_learned_between_batches_shows_in_the_next(fleet: Fleet):
    first = fleet.means(team(fleet), ["echo"])[0]
    fleet.learn("u-1", "echo", 10, 50.0, 5)
    fleet.learn("gone", "echo", 1, 9.0, 1)
    second, failure = fleet.means(team(fleet), ["echo"])[0], fleet.means(team(fleet), ["echo"])[1]
    assert second[0, 0] == pytest.approx(fleet.rates.seconds("u-0", "echo", "utility"))
    assert second[1, 0] == pytest.approx(fleet.rates.seconds("u-1", "echo", "utility"))
    assert second[1, 0] > first[1, 0]
    assert failure[1, 0] == pytest.approx(1 - fleet.rates.success("u-1", "echo", "utility"))


def test_what_new_agents_had_learned_counts_once_and_before_what_they_learn_now(fleet: Fleet):
    assert fleet.new_agents == {"u-0", "u-1", "m-0"}
    fleet.learn("u-0", "echo", 1, 0.1, 1)
    earlier = {"u-0": {"echo": RateEstimate(weight=20.0, seconds=40.0, successes=20.0)}}
    for _ in range(2):
        fleet.merge_earlier(["u-0", "u-1"], earlier)
    assert fleet.new_agents == {"m-0"}
    alone = RateEstimate(weight=1.0, seconds=0.1, successes=1.0)
    alone.merge_earlier(earlier["u-0"]["echo"], FORGET_STEADY)
    assert fleet.rates.estimate("u-0", "echo") == alone
    slow, average = fleet.means(team(fleet), ["echo"])[0][:, 0]
    assert slow == pytest.approx(fleet.rates.seconds("u-0", "echo", "utility"))
    assert average == pytest.approx(fleet.rates.type_seconds("echo", "utility"))
    fleet.update({**TABLE, "epoch": 4})
    assert fleet.new_agents == {"m-0"}, "the others are known"
