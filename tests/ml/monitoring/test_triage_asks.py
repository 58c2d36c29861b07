"""When an open monitor asks for triage."""

import json

from seedcore.ml.monitoring.triage_asks import FAILED_S, MAX_CAUSED, PAUSE_S, TriageAsks

MODEL = {"name": "digits", "monitor": "inputs", "rows": 3}


def opened() -> TriageAsks:
    asks = TriageAsks()
    asks.note(True)
    return asks


def record(action: str, **facts: object) -> dict:
    known = {"model.allowed": True, "model.fresh_rows": 3, "model.fresh_needed": 3, "model.wait_s": 0.0} | facts
    result = {"task_id": "t-1", "every_s": 600.0} if action == "retrain" else None
    return {"id": "1", "action": action, "status": "done", "result": result, "decision": {"facts": known}}


def test_it_asks_at_once_when_a_monitor_opens_and_not_before():
    asks = TriageAsks()
    assert not asks.due(0.0, 10, False)
    asks.note(True)
    assert asks.due(0.0, 0, False)


def test_a_request_without_an_answer_is_sent_again_unchanged():
    asks = opened()
    first = json.dumps(asks.begin("k", MODEL, {}))
    asks.fail("it does not answer", 10.0)
    assert not asks.due(10.0 + FAILED_S / 2, 0, False)
    restored = TriageAsks.from_json(json.loads(json.dumps(asks.to_json())))
    assert restored.due(10.0 + FAILED_S, 99, False)
    assert json.dumps(restored.begin("k", MODEL | {"rows": 99}, {})) == first


def test_it_asks_again_as_soon_as_the_rows_that_the_policy_wants_are_there():
    asks = opened()
    asks.begin("k", MODEL, {})
    asks.answer(record("none", **{"model.fresh_needed": 250}), 100.0)
    assert not asks.due(10_000.0, 249, False)
    assert asks.due(100.0, 250, False)
    assert asks.begin("k", MODEL, {})["idempotency_key"] == "k-1-2"


def test_after_a_retraining_the_policys_interval_passes_first_and_a_candidate_that_is_judged_gets_its_time():
    asks = opened()
    asks.begin("k", MODEL, {})
    caused = asks.answer(record("retrain"), 100.0)
    assert (caused["task_id"], caused["monitor"]) == ("t-1", "inputs")
    assert caused["at"] == "1970-01-01T00:01:40+00:00"
    assert not asks.due(699.0, 9_999, False)
    assert asks.due(700.0, 9_999, False)
    assert not asks.due(700.0, 9_999, True)


def test_what_the_policy_does_not_allow_is_asked_for_ever_less_often():
    asks, now, pauses = opened(), 0.0, []
    for _ in range(9):
        asks.begin("k", MODEL, {})
        asks.answer(record("none", **{"model.allowed": False}), now)
        pauses.append(asks.next_at - now)
        now = asks.next_at
    assert pauses[:3] == [PAUSE_S, 2 * PAUSE_S, 4 * PAUSE_S]
    assert pauses[-1] == 3600.0


def test_each_alarm_has_keys_of_its_own():
    asks = opened()
    asks.begin("k", MODEL, {})
    asks.answer(record("none"), 0.0)
    asks.note(False)
    asks.note(True)
    assert asks.begin("k", MODEL, {})["idempotency_key"] == "k-2-1"


def test_only_the_newest_causes_are_kept():
    asks = opened()
    for n in range(MAX_CAUSED + 5):
        asks.begin("k", MODEL, {})
        asks.answer(record("none") | {"id": str(n)}, float(n))
    assert [one["triage"] for one in asks.caused] == [str(n) for n in range(5, MAX_CAUSED + 5)]
