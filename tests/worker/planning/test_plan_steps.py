"""What a plan says it rests on, before it is stored."""

from uuid import UUID

from seedcore.worker.planning.plan_steps import MAX_FACTS, facts_of
from seedcore.worker.ports import PlanJson

FACT = UUID("0190f3f0-0000-7000-8000-000000000001")


def plan(*evidence: dict[str, object]) -> PlanJson:
    return {"steps": [], "output": {}, "evidence": list(evidence)}  # type: ignore[typeddict-item]


def test_a_plan_names_the_facts_that_it_relied_on_each_once() -> None:
    fact = {"kind": "fact", "id": str(FACT), "text": "a is b"}
    assert facts_of(plan(fact, {"kind": "memory", "id": str(UUID(int=7)), "text": "c"}, fact)) == (FACT,)
    assert facts_of({"steps": [], "output": {}}) == ()


def test_what_is_no_id_of_a_fact_is_left_out() -> None:
    wrong = [{"kind": "fact", "id": value} for value in (None, "x", "a" * 10_000, 7)]
    assert facts_of(plan(*wrong, {"kind": "fact"})) == ()
    many = [{"kind": "fact", "id": str(UUID(int=i))} for i in range(MAX_FACTS + 9)]
    assert len(facts_of(plan(*many))) == MAX_FACTS
