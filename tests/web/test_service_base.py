"""The deployment template: one operation, the same answer and the same error over HTTP and over a handle."""

import json
import pickle
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
import pytest
from pydantic import BaseModel, ConfigDict, Field

from seedcore import errors
from seedcore.settings import Settings
from seedcore.web.service_base import Operation, ServiceBase, parse

SECRET = "hunter2"


class Ask(BaseModel):
    model_config = ConfigDict(extra="forbid")

    n: int = Field(ge=0)
    path: str = "x"
    many: list[int] = []
    version: int | None = None


class Answer(BaseModel):
    twice: int
    model_schema: dict[str, int] = Field(alias="schema")
    at: datetime = datetime(2026, 1, 2, tzinfo=UTC)
    nothing: str | None = None


class Nested(BaseModel):
    inner: list[Ask]


class Service(ServiceBase):
    name = "test"
    events: list[str]

    def operations(self) -> Sequence[Operation]:
        return [
            Operation("POST", "/double", self.double, Ask, summary="Twice as much"),
            Operation("GET", "/look-up", self.double, Ask, summary="The same by query"),
            Operation("GET", "/plain", self.plain),
            Operation("POST", "/nested", self.nested, Nested, status=202),
            Operation("POST", "/refuse", self.refuse),
            Operation("POST", "/break", self.break_down),
        ]

    async def double(self, request: Ask) -> Answer:
        """Doubles a number."""
        return Answer(twice=2 * request.n, schema={"a": request.n})

    async def plain(self) -> dict[str, Any]:
        return {"id": UUID(int=1), "at": datetime(2026, 1, 2, tzinfo=UTC), "pair": (1, 2)}

    async def nested(self, request: Nested) -> int:
        return len(request.inner)

    async def refuse(self) -> None:
        wrong = [errors.FieldError("n", "no")]
        raise errors.ConflictError("Not now.", errors=wrong, retry_after_s=3, task_status="running")

    async def break_down(self) -> None:
        raise RuntimeError(SECRET)

    async def start(self) -> None:
        self.events = ["started"]

    async def stop(self) -> None:
        self.events.append("stopped")

    async def health(self) -> Mapping[str, Any]:
        return {"ready": True, "store": "fine"}


@pytest.fixture
def service(settings: Settings) -> Service:
    return Service({"version": "1"}, settings)


@pytest.fixture
def http(service: Service) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(service.build_app()), base_url="http://test")


async def both(service: Service, http: httpx.AsyncClient, path: str, payload: Any, method: str = "POST") -> Any:
    """Ask both ways, hold the answers against each other, and return one; errors are raised."""
    over_http = await http.request(method, path, **({"params": payload} if method == "GET" else {"json": payload}))
    try:
        over_handle = await service.invoke(path, payload)
    except errors.SeedCoreError as error:
        sent = pickle.loads(pickle.dumps(error))
        assert over_http.json() == errors.problem(sent)
        raise
    assert over_http.is_success, over_http.text
    assert over_http.json() == json.loads(json.dumps(over_handle))
    return over_handle


async def test_an_operation_answers_alike_over_http_and_handle(service: Service, http: httpx.AsyncClient):
    answer = await both(service, http, "/double", {"n": 21})
    assert answer == {"twice": 42, "schema": {"a": 21}, "at": "2026-01-02T00:00:00Z", "nothing": None}


async def test_a_get_operation_takes_its_fields_from_the_query(service: Service, http: httpx.AsyncClient):
    answer = await both(service, http, "/look-up", {"n": 2, "path": "a/b", "many": [1, 2]}, "GET")
    assert answer["twice"] == 4


async def test_an_operation_without_a_model_gives_plain_json(service: Service, http: httpx.AsyncClient):
    answer = await both(service, http, "/plain", None, "GET")
    assert answer == {"id": str(UUID(int=1)), "at": "2026-01-02T00:00:00Z", "pair": [1, 2]}


async def test_the_status_of_an_operation_is_its_own(http: httpx.AsyncClient):
    assert (await http.post("/nested", json={"inner": []})).status_code == 202


@pytest.mark.parametrize(
    ("path", "payload", "fields"),
    [
        ("/double", {}, ["n"]),
        ("/double", {"n": -1, "path": 5}, ["n", "path"]),
        ("/double", {"n": 1, "body": 1}, ["body"]),
        ("/nested", {"inner": [{"n": 1}, {"n": "x", "path": None}]}, ["inner.1.n", "inner.1.path"]),
    ],
)
async def test_wrong_input_is_the_same_error_over_http_and_handle(
    service: Service, http: httpx.AsyncClient, path: str, payload: Any, fields: list[str]
):
    with pytest.raises(errors.InvalidInputError) as caught:
        await both(service, http, path, payload)
    assert [e.field for e in caught.value.errors] == fields


async def test_wrong_query_parameters_are_the_same_error(service: Service, http: httpx.AsyncClient):
    with pytest.raises(errors.InvalidInputError, match="n: "):
        await both(service, http, "/look-up", {"n": "x"}, "GET")


async def test_an_error_raised_on_purpose_is_the_same_both_ways(service: Service, http: httpx.AsyncClient):
    with pytest.raises(errors.ConflictError) as caught:
        await both(service, http, "/refuse", None)
    assert (caught.value.retry_after_s, caught.value.extra) == (3, {"task_status": "running"})


async def test_an_unexpected_error_is_the_same_both_ways_and_hides_its_text(service: Service, http: httpx.AsyncClient):
    with pytest.raises(errors.SeedCoreError) as caught:
        await both(service, http, "/break", None)
    assert caught.value.code == "internal_error"
    assert SECRET not in caught.value.detail
    assert caught.value.__cause__ is None, "a cause would carry the text across the handle"


async def test_an_unknown_operation_is_not_found_both_ways(service: Service, http: httpx.AsyncClient):
    with pytest.raises(errors.NotFoundError, match="test has no operation '/nowhere'"):
        await service.invoke("/nowhere")
    assert (await http.post("/nowhere")).json()["code"] == "not_found"


async def test_openapi_and_docs_list_the_operations(http: httpx.AsyncClient):
    assert (await http.get("/docs")).status_code == 200
    spec = (await http.get("/openapi.json")).json()
    assert set(spec["paths"]) == {"/health", "/double", "/look-up", "/plain", "/nested", "/refuse", "/break"}
    double = spec["paths"]["/double"]["post"]
    assert (double["summary"], double["description"]) == ("Twice as much", "Doubles a number.")
    assert double["requestBody"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Ask"}
    assert "schema" in spec["components"]["schemas"]["Answer"]["properties"]
    query = {parameter["name"] for parameter in spec["paths"]["/look-up"]["get"]["parameters"]}
    assert query == {"n", "path", "many", "version"}


async def test_health_names_the_service_and_what_it_depends_on(http: httpx.AsyncClient):
    body = (await http.get("/health")).json()
    assert (body["status"], body["service"], body["store"]) == ("ok", "test", "fine")


async def test_health_can_be_asked_over_a_handle_too(service: Service):
    assert await service.invoke("/health") == dict(await service.health())


async def test_the_application_starts_and_stops_the_service(service: Service):
    app = service.build_app()
    async with app.router.lifespan_context(app):
        assert service.events == ["started"]
    assert service.events == ["started", "stopped"]


def test_two_operations_of_one_path_are_refused(settings: Settings):
    class Twice(Service):
        def operations(self) -> Sequence[Operation]:
            return [Operation("GET", "/a", self.plain), Operation("POST", "/a", self.refuse)]

    with pytest.raises(ValueError, match="'/a'"):
        Twice({}, settings)


def test_parse_names_the_fields_that_are_wrong():
    with pytest.raises(errors.InvalidInputError) as caught:
        parse(Nested, {"inner": [{"n": 1, "path": 2}]})
    assert [e.field for e in caught.value.errors] == ["inner.0.path"]
    assert "inner.0.path" in caught.value.detail
