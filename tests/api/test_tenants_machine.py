"""Whatever two tenants do in whatever order, neither ever sees an id of the other's."""

import asyncio
import re
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

import asyncpg
import httpx
import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, rule, run_state_machine_as_test

from seedcore.api.app import build_app
from seedcore.settings import load_settings
from seedcore.stores.postgres import ENGINE_SESSION, Database
from seedcore.tasks import sessions
from seedcore.tasks.events.event_log import START, entries_of, read_log
from seedcore.tasks.task_json import entry_json
from tests.api.conftest import TASKS, Dispatcher
from tests.api.tenants import client_of, install

pytestmark = pytest.mark.integration

T = TypeVar("T")
TENANTS = ("acme", "umbra")
NAMES = st.sampled_from(["a", "b"])
UUIDS = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
TABLES = """tasks, finished, dead, ready, gated, deferred, leases, held, plans, idempotency, limits, admitted,
schedules, events, deadlines"""


def machine(dsn: str, folder: Path) -> type[RuleBasedStateMachine]:
    """The machine on a database."""
    loop = asyncio.new_event_loop()

    def wait(work: Coroutine[Any, Any, T]) -> T:
        return loop.run_until_complete(work)

    class TwoTenants(RuleBasedStateMachine):
        tasks = Bundle("tasks")

        def __init__(self) -> None:
            super().__init__()
            settings = load_settings(data_dir=folder, pg_dsn=dsn)
            self.app = build_app(settings)
            install(self.app)
            self.database = Database(settings, session=ENGINE_SESSION)
            self.player = Dispatcher(self.database)
            self.owner: dict[str, str] = {}
            wait(self._begin())

        async def _begin(self) -> None:
            async with self.database.connection() as connection:
                names = ", ".join(f"seedcore.{name.strip()}" for name in TABLES.split(","))
                await connection.execute(f"truncate {names}")
                await sessions.open_session(connection, self.player.session, "player", "default", 600)

        def teardown(self) -> None:
            wait(self.database.aclose())
            wait(self.app.state.gateway.aclose())

        def ask(self, tenant: str, method: str, path: str, **more: Any) -> httpx.Response:
            async def send() -> httpx.Response:
                async with client_of(self.app, tenant) as client:
                    return await client.request(method, path, **more)

            answer = wait(send())
            assert answer.status_code < 500, answer.text
            self.check(tenant, answer.text, path)
            return answer

        def check(self, tenant: str, text: str, asked: str = "") -> None:
            """No id but its own, and those that it asked for itself."""
            for task_id in set(UUIDS.findall(text)) - set(UUIDS.findall(asked)):
                assert self.owner.get(task_id, tenant) == tenant, (tenant, asked, text)

        @rule(target=tasks, tenant=st.sampled_from(TENANTS), key=st.none() | NAMES, limit=st.none() | NAMES)
        def submit(self, tenant: str, key: str | None, limit: str | None) -> str:
            more = {"idempotency_key": key} if key else {}
            more |= {"limit": {"key": limit, "max_running": 2}} if limit else {}
            answer = self.ask(tenant, "POST", TASKS, json={"type": "echo", "params": {"value": 1}, **more})
            assert answer.status_code in (200, 201)
            task_id = str(answer.json()["id"])
            assert self.owner.setdefault(task_id, tenant) == tenant
            return task_id

        @rule(tenant=st.sampled_from(TENANTS), task=tasks, action=st.sampled_from(["", "/plan"]))
        def read(self, tenant: str, task: str, action: str) -> None:
            answer = self.ask(tenant, "GET", f"{TASKS}/{task}{action}")
            assert answer.status_code == (200 if self.owner[task] == tenant else 404)

        @rule(
            tenant=st.sampled_from(TENANTS),
            task=tasks,
            action=st.sampled_from(["cancel", "retry", "approve", "reject"]),
        )
        def command(self, tenant: str, task: str, action: str) -> None:
            answer = self.ask(tenant, "POST", f"{TASKS}/{task}/{action}")
            assert answer.status_code in ((202, 409) if self.owner[task] == tenant else (404,))

        @rule(
            tenant=st.sampled_from(TENANTS), status=st.sampled_from([None, "queued", "failed", "cancelled", "approval"])
        )
        def search(self, tenant: str, status: str | None) -> None:
            items = self.ask(tenant, "GET", TASKS, params={"status": status} if status else {}).json()["items"]
            own = {task for task, owner in self.owner.items() if owner == tenant}
            found = {item["id"] for item in items}
            assert found == own if status is None else found <= own

        @rule(tenant=st.sampled_from(TENANTS), again=st.booleans(), task=tasks)
        def dead(self, tenant: str, again: bool, task: str) -> None:
            self.ask(tenant, "GET", "/api/v1/dead")
            body = {"ids": [task]} if again else {"type": "echo"}
            ids = self.ask(tenant, "POST", "/api/v1/dead/requeue", json=body).json()["ids"]
            assert {self.owner[task_id] for task_id in ids} <= {tenant}

        @rule(
            tenant=st.sampled_from(TENANTS),
            name=NAMES,
            action=st.sampled_from(["put", "fire", "pause", "delete", "list"]),
        )
        def schedule(self, tenant: str, name: str, action: str) -> None:
            path = f"/api/v1/schedules/{name}"
            if action == "put":
                task = {"type": "echo", "params": {"value": tenant}}
                self.ask(tenant, "PUT", path, json={"task": task, "every_s": 3600})
            elif action == "fire":
                answer = self.ask(tenant, "POST", f"{path}/fire")
                if answer.status_code == 201:
                    assert answer.json()["params"] == {"value": tenant}
                    self.owner[answer.json()["id"]] = tenant
            elif action == "pause":
                self.ask(tenant, "POST", f"{path}/pause")
            else:
                self.ask(tenant, "DELETE" if action == "delete" else "GET", path)
            self.ask(tenant, "GET", "/api/v1/schedules")

        @rule(tenant=st.sampled_from(TENANTS), name=NAMES, running=st.integers(1, 3))
        def limit(self, tenant: str, name: str, running: int) -> None:
            self.ask(tenant, "PUT", f"/api/v1/limits/{name}", json={"max_running": running})
            shown = self.ask(tenant, "GET", f"/api/v1/limits/{name}").json()
            assert shown["max_running"] == running

        @rule(fails=st.booleans())
        def work(self, fails: bool) -> None:
            async def one() -> None:
                try:
                    lease = await self.player.lease()
                except AssertionError:
                    return
                assert lease.tenant == self.owner[str(lease.id)]
                await (self.player.fail(lease) if fails else self.player.hold(lease))

            wait(one())

        @rule(tenant=st.sampled_from(TENANTS))
        def feed(self, tenant: str) -> None:
            async def read_all() -> str:
                async with self.database.connection() as connection:
                    entries, _ = await read_log(connection, START, 1000)
                    return str([entry_json(e) for e in await entries_of(connection, entries, tenant)])

            self.check(tenant, wait(read_all()))

        @rule(tenant=st.sampled_from(TENANTS))
        def queue(self, tenant: str) -> None:
            shown = self.ask(tenant, "GET", "/api/v1/queue").json()
            own = sum(owner == tenant for owner in self.owner.values())
            depths = [depth[name] for depth in shown["queues"].values() for name in ("ready", "deferred", "gated")]
            assert sum(depths) + shown["running"] + shown["approval"] + shown["dead"] <= own

    return TwoTenants


def test_neither_of_two_tenants_ever_sees_an_id_of_the_others(postgres_server: str, tmp_path: Path):
    name = f"t{uuid4().hex[:12]}"

    async def execute(statement: str) -> None:
        connection = await asyncpg.connect(postgres_server)
        await connection.execute(statement)
        await connection.close()

    asyncio.run(execute(f"create database {name} template template_seedcore"))
    head, _, tail = postgres_server.partition("?")
    dsn = head.rsplit("/", 1)[0] + f"/{name}" + (f"?{tail}" if tail else "")
    settings = hypothesis.settings(max_examples=15, stateful_step_count=30, deadline=None)
    try:
        run_state_machine_as_test(machine(dsn, tmp_path), settings=settings)
    finally:
        asyncio.run(execute(f"drop database {name} with (force)"))


def test_the_pattern_of_ids_finds_those_of_tasks():
    assert UUIDS.findall(f'"{UUID("01a22b8c-cb1f-7733-95e0-a2710883f1f9")}"')
