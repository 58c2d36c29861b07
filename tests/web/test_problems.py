"""Every wrong request and every failure is a problem document."""

import json

import httpx
import pytest

from seedcore import errors
from seedcore.llm.model_errors import LlmNotConfiguredError
from tests.web.application import SECRET, refused


@pytest.mark.parametrize("kind", errors.known_errors().values(), ids=lambda k: k.code)
async def test_every_error_becomes_its_problem_document(http: httpx.AsyncClient, kind: type[errors.SeedCoreError]):
    answer = await http.get(f"/raise/{kind.code}")
    # It names a field, so it is the request that asks for what is not set up.
    status = 422 if kind is LlmNotConfiguredError else kind.status
    document = refused(answer, status, kind.code)
    assert document["errors"] == [{"field": "a", "message": "b"}]
    assert answer.headers["retry-after"] == "2"


async def test_an_unexpected_error_tells_nothing_of_its_text(http: httpx.AsyncClient):
    answer = await http.get("/break")
    assert "RuntimeError" in refused(answer, 500, "internal_error")["detail"]
    assert SECRET not in answer.text


@pytest.mark.parametrize("body", ['{"a": ', "nonsense", '{"a": 1} x', b"\xff\xfe{}"])
async def test_a_body_that_is_no_json_is_400(http: httpx.AsyncClient, body: str | bytes):
    answer = await http.post("/echo", content=body, headers={"content-type": "application/json"})
    refused(answer, 400, "malformed_request")


async def test_malformed_json_is_told_where(http: httpx.AsyncClient):
    answer = await http.post("/echo", content='{"a": 1,}', headers={"content-type": "application/json"})
    assert "at character 8" in refused(answer, 400, "malformed_request")["detail"]


async def test_a_body_nested_without_end_is_400(http: httpx.AsyncClient):
    answer = await http.post(
        "/echo", content='{"a":' + "[" * 100_000 + "]" * 100_000 + "}", headers={"content-type": "application/json"}
    )
    refused(answer, 400, "malformed_request")


@pytest.mark.parametrize("body", ["", "[1]", "1", '"text"', "null"])
async def test_json_of_another_shape_is_422_and_names_the_body(http: httpx.AsyncClient, body: str):
    answer = await http.post("/echo", content=body, headers={"content-type": "application/json"})
    assert refused(answer, 422, "invalid_input")["errors"][0]["field"] == "(body)"


async def test_a_wrong_field_is_named_by_its_whole_path(http: httpx.AsyncClient):
    body = {"places": [{"path": "a"}, {"path": 1, "query": "x"}], "body": "y"}
    document = refused(await http.post("/places", json=body), 422, "invalid_input")
    assert [e["field"] for e in document["errors"]] == ["places.1.path", "places.1.query", "body"]
    assert "places.1.path" in document["detail"]


async def test_a_field_name_that_utf8_cannot_write_is_still_422(http: httpx.AsyncClient):
    content = '{"\\ud800": 1}'
    answer = await http.post("/strict", content=content, headers={"content-type": "application/json"})
    refused(answer, 422, "invalid_input")


async def test_a_detail_that_utf8_cannot_write_is_still_a_problem(http: httpx.AsyncClient):
    answer = await http.post("/surrogate")
    assert refused(answer, 422, "invalid_input")["detail"] == "no skill '\ud800'"


async def test_a_wrong_query_parameter_is_named(http: httpx.AsyncClient):
    document = refused(await http.get("/pick", params={"body": "x"}), 422, "invalid_input")
    assert document["errors"][0]["field"] == "body"


async def test_an_unknown_path_and_a_wrong_method_are_problems(http: httpx.AsyncClient):
    assert "/nowhere" in refused(await http.get("/nowhere"), 404, "not_found")["detail"]
    answer = await http.get("/echo")
    assert "GET" in refused(answer, 405, "method_not_allowed")["detail"]
    assert answer.headers["allow"] == "OPTIONS, POST"


def test_problem_documents_are_json_that_anybody_reads():
    document = errors.problem(errors.InvalidInputError("ä", errors=[errors.FieldError("x", "y")]))
    assert json.loads(json.dumps(document)) == document
