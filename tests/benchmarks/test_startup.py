"""What is wanted of a start is held against seven empty applications of the same run."""

from benchmarks.startup import COMPARED, compare

EMPTY = {"ready_s": 20.0, "cpu_s": 20.0, "pss_mb": 1000.0, "processes": 20, "idle_processors": 0.1, "stop_s": 5.0}


def test_a_start_may_cost_a_multiple_and_idling_a_little_more():
    ours = {"ready_s": 26.0, "cpu_s": 27.0, "pss_mb": 1200.0, "processes": 50, "idle_processors": 0.2, "stop_s": 6.0}
    rows = {row["what"]: row for row in compare(ours, EMPTY)}
    assert set(rows) == set(COMPARED)
    assert {name: row["met"] for name, row in rows.items() if "met" in row} == {
        "ready_s": True,
        "cpu_s": False,
        "pss_mb": True,
        "idle_processors": True,
    }
    assert rows["processes"]["ratio"] == 2.5
    assert rows["cpu_s"]["aim_met"] is False


def test_an_idle_machine_gives_no_ratio():
    rows = compare({**EMPTY, "idle_processors": 0.05}, {**EMPTY, "idle_processors": 0.0})
    assert next(row for row in rows if row["what"] == "idle_processors")["ratio"] is None
