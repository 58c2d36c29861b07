"""The schema of a question's plan: what it lets a model write, and what it leaves to the check."""

import json
from typing import Any

from pydantic import TypeAdapter

from seedcore.cognitive.engines.llm.closed_plans import MAX_BYTES, closed_plan
from seedcore.settings import load_settings
from seedcore.skills.registry import SkillRegistry
from seedcore.skills.signatures import signatures

SKILLS = signatures(SkillRegistry.load(load_settings()).values())


def schema_of(skills: Any = SKILLS, **more: Any) -> dict[str, Any]:
    schema: dict[str, Any] = TypeAdapter(closed_plan(skills, {"text": "a"}, 50, **more)).json_schema()
    return schema


def step_of(schema: dict[str, Any], skill: str) -> dict[str, Any]:
    steps = schema["properties"]["steps"]["items"]["anyOf"]
    return next(s["properties"] for s in steps if s["properties"]["skill"]["enum"] == [skill])


def test_it_names_skills_sources_and_results():
    schema = schema_of(done={"a": "http.fetch"}, evidence=["m1"])
    steps = schema["properties"]["steps"]["items"]["anyOf"]
    assert {s["properties"]["skill"]["enum"][0] for s in steps} == set(SKILLS)
    text = step_of(schema, "text.summarize")["params"]["properties"]["text"]["anyOf"]
    fields = [(s["properties"]["$from"]["enum"], s["properties"]["field"]["enum"]) for s in text]
    assert (["inputs"], ["text"]) in fields
    assert ["a"] in [steps for steps, _ in fields]
    assert schema["properties"]["cites"]["items"]["enum"] == ["m1"]


def test_a_param_without_an_input_of_its_name_may_be_a_literal():
    url = step_of(schema_of(), "http.fetch")["params"]["properties"]["url"]["anyOf"]
    assert {"type": "string"} in url
    text = step_of(schema_of(), "text.keywords")["params"]["properties"]["text"]["anyOf"]
    assert {"type": "string"} not in text


def test_it_stays_small_whatever_skills_there_are():
    many = {f"{name}.{n}": skill for n in range(50) for name, skill in SKILLS.items()}
    few, large = json.dumps(schema_of()), json.dumps(schema_of(many))
    assert len(few) < MAX_BYTES + 4096
    assert len(large) < MAX_BYTES + 8192
