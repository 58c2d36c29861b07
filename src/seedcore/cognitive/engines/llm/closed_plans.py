"""The schema of one question's plan: a server that decodes by it writes only skills, params and sources that exist.

It narrows what a model writes; what it wrote is checked like every plan, whatever server wrote it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import GetJsonSchemaHandler
from pydantic_core import CoreSchema

from seedcore.cognitive.engines.llm.drafts import PlanDraft
from seedcore.skills import jsontypes
from seedcore.skills.jsontypes import JsonType
from seedcore.skills.signatures import Signature
from seedcore.tasks.plans.plan import FROM, INPUTS

MAX_IDS, MAX_CITES, MAX_NAMED = 8, 5, 4
"""Most steps and citations that the schema has room for; with more results than that the output may be empty."""

MAX_BYTES = 16 * 1024
"""Of the schema of a step, which counts as tokens of a call: in a larger one, params are left open."""

Schema = dict[str, Any]


def closed_plan(
    skills: Mapping[str, Signature],
    inputs: Mapping[str, object],
    max_steps: int,
    evidence: Sequence[str] = (),
    done: Mapping[str, str] | None = None,
) -> type[PlanDraft]:
    """`PlanDraft` with a JSON Schema that knows the skills, the inputs, and the ids of evidence and completed steps."""
    schema = _plan(skills, inputs, max_steps, evidence, done or {})

    class ClosedPlanDraft(PlanDraft):
        """A plan for one question."""

        @classmethod
        def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> Schema:
            return schema

    return ClosedPlanDraft


def _plan(
    skills: Mapping[str, Signature],
    inputs: Mapping[str, object],
    max_steps: int,
    evidence: Sequence[str],
    done: Mapping[str, str],
) -> Schema:
    given = {name: jsontypes.of_value(value) for name, value in inputs.items()}
    ended = [(step, skills[skill].results) for step, skill in done.items() if skill in skills]
    ids = [f"s{n}" for n in range(1, min(max_steps, MAX_IDS) + 1)]
    steps: Schema = {"type": "array", "items": _step(ids, skills, given, ended), "minItems": 1, "maxItems": len(ids)}
    properties: Schema = {"steps": steps, "output": _output([*ids, *(step for step, _ in ended)], skills)}
    if evidence:
        cite = {"type": "string", "enum": list(evidence)}
        properties["cites"] = {"type": "array", "items": cite, "maxItems": MAX_CITES}
    return _object(properties, ("steps", "output"))


def _step(
    ids: Sequence[str],
    skills: Mapping[str, Signature],
    given: Mapping[str, JsonType],
    ended: Sequence[tuple[str, Mapping[str, JsonType]]],
) -> Schema:
    every = [(name, kind) for skill in skills.values() for name, kind in skill.results.items()]
    sources = [([INPUTS], list(given.items())), (ids, every), *(([step], list(of.items())) for step, of in ended)]
    kinds = []
    for skill in skills.values():
        params = {}
        for name, param in skill.params.items():
            # An optional one is an input or a literal: small models fill it with whatever fits.
            found = _sources(param.type, sources if param.required else sources[:1])
            # What the asker gave by this name is what is meant.
            named = name in given and jsontypes.fits(given[name], param.type)
            params[name] = {"anyOf": found if named else [*found, *_literals(param.type)]}
        required = [name for name, param in skill.params.items() if param.required]
        step = {"id": _one_of(ids), "skill": _one_of([skill.name]), "params": _object(params, required)}
        kinds.append(_object(step, tuple(step)))
    if sum(len(json.dumps(kind)) for kind in kinds) > MAX_BYTES:
        step = {"id": _one_of(ids), "skill": _one_of(list(skills)), "params": {"type": "object"}}
        return _object(step, tuple(step))
    return {"anyOf": kinds}


def _sources(wanted: JsonType, sources: Sequence[tuple[Sequence[str], Sequence[tuple[str, JsonType]]]]) -> list[Schema]:
    """Where a value of a type may come from: each input and result that fits."""
    found = []
    for steps, fields in sources:
        names = list(dict.fromkeys(name for name, kind in fields if jsontypes.fits(kind, wanted)))
        if steps and names:
            found.append(_reference(steps, names))
    return found


def _literals(wanted: JsonType) -> list[Schema]:
    if wanted >= jsontypes.ANY:
        return [{"type": name} for name in ("string", "number", "boolean")]
    literals: list[Schema] = []
    for kind in sorted(wanted, key=lambda each: each.name):
        items = {} if kind.items is None else {"items": {"anyOf": _literals(kind.items)}}
        literals.append({"type": kind.name, **items})
    return literals


def _output(steps: Sequence[str], skills: Mapping[str, Signature]) -> Schema:
    """At least one result by its name, as long as there are not too many names; none where a skill gives none."""
    names = list(dict.fromkeys(name for skill in skills.values() for name in skill.results))
    fields = {name: _reference(steps, [name]) for name in names}
    if len(names) > MAX_NAMED or not all(skill.results for skill in skills.values()):
        return _object(fields, ())
    return {"anyOf": [_object({name: fields[name], **fields}, [name]) for name in names]}


def _reference(steps: Sequence[str], fields: Sequence[str]) -> Schema:
    return _object({FROM: _one_of(steps), "field": _one_of(fields)}, (FROM, "field"))


def _one_of(texts: Sequence[str]) -> Schema:
    return {"type": "string", "enum": list(texts)}


def _object(properties: Mapping[str, Schema], required: Iterable[str]) -> Schema:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
    }
