"""The Organism's Serve deployment."""

import asyncio
import contextlib
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from uuid import UUID, uuid4

import psutil
from fastapi import Body, FastAPI, Header, Response
from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

from seedcore import __version__
from seedcore.errors import (
    DeadlineError,
    FieldError,
    InvalidInputError,
    NotFoundError,
    RayConnectionError,
    SkillError,
    UnavailableError,
)
from seedcore.fleet.organ_spec import OrganId, OrganSpec, load_organs
from seedcore.organism import responses
from seedcore.organism.control.controller import Keeper
from seedcore.organism.control.ray_host_pool import RayHostPool
from seedcore.organism.control.reconciler import Reconciler
from seedcore.organism.desired import evolution_repository
from seedcore.organism.desired.changes import Changes
from seedcore.organism.desired.desired_state import Organ
from seedcore.organism.desired.repository import OrganStore
from seedcore.organism.routing.routing_table import Skills, agents_of
from seedcore.organism.routing.type_routes import RouteTable
from seedcore.schemas import organism as schemas
from seedcore.schemas.organism import (
    EvolveRequest,
    ExecuteOnOrgan,
    ExecuteResult,
    FleetRequest,
    OrganismStatus,
    OrganModel,
    ResolveRoute,
    ResolveRoutes,
    Route,
    Routes,
)
from seedcore.skills.host_protocol import Call, Completion
from seedcore.skills.registry import SkillRegistry
from seedcore.stores.postgres import DATABASE_ERRORS, Database
from seedcore.utils import serve_run
from seedcore.utils.ray_record import record_ray_address
from seedcore.web.service_base import Operation, ServiceBase

FIRST_LOOK_S = 5.0
"""A replica that starts looks who lives before it answers, for at most so long."""

STALE_S = 30.0
"""A replica that has not looked for so long does not know who lives."""

COME_UP_S = 15.0
"""`POST /initialize` waits so long for the hosts, `POST /shutdown` for their end."""


class OrganismService(ServiceBase):
    """Keeps the hosts alive and knows who lives where."""

    name = "organism"

    async def start(self) -> None:
        """Take up what the database holds, and look who lives: a replica that restarts is not uninitialized for it."""
        self._skills = SkillRegistry.load(self.settings)
        self._declared = Skills(
            {spec.name: spec.organ for spec in self._skills.values()},
            {spec.name: spec.timeout_s for spec in self._skills.values() if spec.timeout_s is not None},
            {spec.name: spec.approval_s for spec in self._skills.values() if spec.approval},
        )
        self._database = Database(self.settings, size=3, name="seedcore-organism")
        self._changes = Changes(self._database, self._declared.organ, self.settings.energy_v)
        self._pool = RayHostPool(self.settings)
        reconciler = Reconciler(self._pool, self._fingerprint, self._slots, self.settings.drain_s)
        store = OrganStore(self._database)
        self._keeper = Keeper(store, reconciler, self._declared, self._changes.measure_settled)
        self._turn = 0
        self._routes: RouteTable | None = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_LOOK_S):
                await self._keeper.try_round()
        self._loop = asyncio.create_task(self._keeper.run(), name="keep")
        await asyncio.to_thread(self._tell_where)

    async def stop(self) -> None:
        """Let another replica lead; the hosts live on, unless the whole Ray ends with `serve run`."""
        await asyncio.to_thread(self._hand_back_before_the_end)
        self._loop.cancel()
        await asyncio.gather(self._loop, return_exceptions=True)
        with contextlib.suppress(*DATABASE_ERRORS):
            await self._keeper.resign()
        await self._database.aclose()

    def operations(self) -> Sequence[Operation]:
        """What the Organism does."""
        return [
            Operation("POST", "/initialize", self.initialize, summary="Apply the organs file and bring organs up"),
            Operation("POST", "/shutdown", self.shutdown, summary="Drain and stop every host"),
            Operation("GET", "/status", self.status, summary="Organs and hosts"),
            Operation("GET", "/fleet", self.fleet, FleetRequest, summary="The routing table"),
            Operation("GET", "/agents", self.agents, summary="Living agents"),
            Operation("GET", "/organs", self.organs, summary="What every organ ought to be"),
            Operation(
                "POST", "/resolve-route", self.resolve_route, ResolveRoute, summary="The organ of a type or domain"
            ),
            Operation("POST", "/resolve-routes", self.resolve_routes, ResolveRoutes, summary="The same for many"),
            Operation("POST", "/execute-on-organ", self.execute_on_organ, ExecuteOnOrgan, summary="Run a task now"),
            Operation("POST", "/evolve", self.evolve, EvolveRequest, summary="Split, merge, clone or retire"),
        ]

    def extend(self, app: FastAPI) -> None:
        """Single organs by id, and what evolved."""

        @app.get("/organs/{organ_id}", response_model=OrganModel)
        async def get_organ(organ_id: str, response: Response) -> OrganModel:
            """What an organ ought to be; the ETag is its version."""
            return _tagged(response, self._organ_model(self._organ(organ_id)))

        @app.put("/organs/{organ_id}", response_model=OrganModel)
        async def put_organ(
            organ_id: OrganId,
            spec: Annotated[OrganSpec, Body()],
            response: Response,
            if_match: Annotated[str | None, Header()] = None,
        ) -> OrganModel:
            """Change what an organ ought to be, the whole of it; 412 when If-Match names another version."""
            desired, organ, new = await self._changes.put(organ_id, spec, responses.version_of(if_match))
            await self._noticed(desired)
            response.status_code = 201 if new else 200
            return _tagged(response, self._organ_model(organ))

        @app.delete("/organs/{organ_id}", status_code=204)
        async def delete_organ(organ_id: str, if_match: Annotated[str | None, Header()] = None) -> None:
            """Want an organ no more; 409 while skills run there."""
            await self._noticed(await self._changes.remove(organ_id, responses.version_of(if_match)))

        @app.get("/evolve", response_model=schemas.Evolutions)
        async def get_evolutions(limit: int = 100) -> schemas.Evolutions:
            """The last evolutions, the newest first."""
            async with self._database.connection() as connection:
                records = await evolution_repository.latest(connection, min(max(limit, 1), 1000))
            return schemas.Evolutions(items=[responses.evolution(record) for record in records])

        @app.post("/evolve/{evolution}/undo", response_model=schemas.EvolutionRecord)
        async def undo(evolution: UUID) -> schemas.EvolutionRecord:
            """Undo an evolution; 409 when an organ of it has been changed since."""
            await self._noticed(await self._changes.undo(evolution))
            return await self._evolution(evolution)

    # -- what is wanted --------------------------------------------------------------------------------------

    async def initialize(self) -> OrganismStatus:
        """Apply the organs file, and bring every organ up; doing it again changes nothing.

        The file wins for the organs that have changed in it since it was last applied; see `desired.apply_file`.

        Raises:
            UnavailableError: a host does not come up in time; the organism goes on trying.
        """
        desired = await self._changes.apply(load_organs(self.settings))
        self._keeper.nudge()
        if not await self._keeper.until(lambda: self._keeper.complete, desired, COME_UP_S):
            why = "; ".join(self._keeper.short().values()) or "nobody has looked yet"
            raise UnavailableError(f"Not up yet: {why}.", retry_after_s=2)
        return await self.status()

    async def shutdown(self) -> OrganismStatus:
        """Drain and stop every host. Desired state says stopped, also after a restart, until `POST /initialize`."""
        desired = await self._changes.stop()
        self._keeper.nudge()
        await self._keeper.until(lambda: self._keeper.settled, desired, COME_UP_S)
        return await self.status()

    async def evolve(self, request: EvolveRequest) -> schemas.EvolutionRecord:
        """Split, merge, clone or retire; answers when that has taken effect and was measured, or its time is up."""
        self._ready()
        living = [host.name for host in self._keeper.hosts.values() if host.alive]
        desired, evolution = await self._changes.evolve(request.root, living)
        deadline = time.monotonic() + request.root.wait_s
        await self._noticed(desired)
        await self._keeper.until(lambda: self._keeper.settled, desired, deadline - time.monotonic())
        while True:
            record = await self._evolution(evolution)
            if record.energy_after is not None or time.monotonic() >= deadline:
                return record
            await asyncio.sleep(0.25)

    async def organs(self) -> dict[str, Any]:
        """What every organ ought to be."""
        return {"items": [self._organ_model(organ).model_dump(mode="json") for organ in self._keeper.organs.values()]}

    # -- what there is ---------------------------------------------------------------------------------------

    async def status(self) -> OrganismStatus:
        """What is desired and what lives."""
        keeper = self._keeper
        skills = keeper.skill_organs()
        return OrganismStatus(
            organism_initialized=keeper.complete,
            stopped=keeper.stopped,
            leads=keeper.leads,
            epoch=keeper.epoch,
            organs={
                name: responses.organ_status(organ, keeper.hosts, skills, self._fingerprint(organ), keeper.running)
                for name, organ in keeper.organs.items()
            },
            missing_organs=sorted(set(skills.values()) - set(keeper.organs)),
        )

    async def fleet(self, request: FleetRequest) -> dict[str, Any]:
        """Who lives where, and which organ runs which skill, by columns; short when the asker's table still holds."""
        self._ready()
        table = self._keeper.table()
        return {"epoch": table["epoch"], "unchanged": True} if request.epoch == table["epoch"] else table

    async def agents(self) -> dict[str, Any]:
        """Living agents with organ, host and lifecycle."""
        self._ready()
        return {"items": agents_of(self._keeper.table())}

    async def resolve_route(self, request: ResolveRoute) -> Route:
        """The organ of a task type, or of a domain.

        Raises:
            NotFoundError: nobody runs the one or serves the other.
        """
        routes = self._get_routes()
        organ, source = routes.resolve(request.type, request.domain)
        return Route(organ_id=organ, resolved_from=source, epoch=routes.epoch)

    async def resolve_routes(self, request: ResolveRoutes) -> Routes:
        """The organ of each of many types or domains; what is wrong with one is its own answer."""
        routes = self._get_routes()
        return Routes(items=[responses.route_answer(routes, item) for item in request.items], epoch=routes.epoch)

    async def health(self) -> Mapping[str, Any]:
        """Ready when every organ has its minimum. Until this replica has looked who lives, that is unknown: null."""
        keeper, database = self._keeper, await self._database.ready()
        status = await self.status()
        looked_s = time.monotonic() - keeper.looked_at
        return {
            "ready": keeper.looked and looked_s < STALE_S and status.organism_initialized and database["ready"],
            "organism_initialized": status.organism_initialized if keeper.looked else None,
            "starting": not keeper.looked,
            "looked_s": round(looked_s, 1) if keeper.looked else None,
            "stopped": keeper.stopped,
            "leads": keeper.leads,
            "organs": {name: f"{o.living_agents}/{o.desired_agents}" for name, o in status.organs.items()},
            "short": keeper.short() if keeper.looked else {},
            "missing_organs": status.missing_organs if keeper.looked else [],
            "postgres": database,
        }

    # -- one task now ----------------------------------------------------------------------------------------

    async def execute_on_organ(self, request: ExecuteOnOrgan) -> ExecuteResult:
        """Run one task on an agent of the organ, past the queue: at most once, and nothing is stored.

        Raises:
            NotFoundError: there is no such organ or skill.
            InvalidInputError: the skill belongs to another organ, or the params do not fit.
            UnavailableError: the organ has no living host.
            DeadlineError: it took longer than `organ_timeout_s`.
            SkillError: the skill failed.
        """
        spec = self._skills.find(request.task.type)
        self._organ(request.organ_id)
        home = self._keeper.skill_organs()[spec.name]
        if home != request.organ_id:
            message = f"skill {spec.name!r} belongs to organ {home!r}, not {request.organ_id!r}"
            raise InvalidInputError.for_field("organ_id", message)
        try:
            self._skills.check(spec.name, request.task.params)
        except InvalidInputError as error:
            found = [FieldError(f"task.{e.field}", e.message) for e in error.errors]
            raise InvalidInputError(error.detail, errors=found) from None
        agent, host = self._next_agent(request.organ_id)
        task_id = request.task.id or str(uuid4())
        key = request.task.idempotency_key or task_id
        timeout_s = request.organ_timeout_s
        call = Call(task_id, 0, 1, spec.name, json.dumps(request.task.params), agent, timeout_s, key)
        completion = await self._execute(host, call, timeout_s)
        if not completion.ok:
            if completion.error_code == "skill_timeout":
                raise DeadlineError(completion.error_message or "the skill took too long")
            raise SkillError(completion.error_message or "the skill failed", skill_code=completion.error_code)
        return ExecuteResult(
            organ_id=request.organ_id,
            agent=agent,
            host=host,
            task_id=task_id,
            result=json.loads(completion.result or "null"),
            seconds=completion.seconds,
        )

    def _next_agent(self, organ: str) -> tuple[str, str]:
        """Agents of an organ in turn: the agent's id and its host."""
        own = self._keeper.table()["organs"].get(organ)
        if own is None or not own["agents"]:
            raise UnavailableError(f"Organ {organ!r} has no living host.", retry_after_s=1)
        self._turn += 1
        n = self._turn % len(own["agents"])
        return own["agents"][n], own["hosts"][own["host"][n]]

    async def _execute(self, host: str, call: Call, timeout_s: float) -> Completion:
        try:
            answer: Completion = await asyncio.wait_for(self._pool.handle(host).execute.remote(call), timeout_s + 5)
        except TimeoutError:
            raise DeadlineError(f"Host {host} said nothing for {timeout_s + 5:g} s.") from None
        except (RayError, ValueError) as error:
            raise UnavailableError(f"Host {host} does not answer: {type(error).__name__}.", retry_after_s=1) from error
        return answer

    # -- parts -----------------------------------------------------------------------------------------------

    def _ready(self) -> None:
        if not self._keeper.looked:
            raise UnavailableError("This replica has not looked yet who lives.", retry_after_s=1)
        if not self._keeper.organs or self._keeper.stopped:
            raise UnavailableError("The organism is not initialized: POST /organism/initialize.", retry_after_s=2)

    async def _noticed(self, desired: int) -> None:
        """Wait until this replica knows a change: who reads after writing finds it."""
        self._keeper.nudge()
        await self._keeper.until(lambda: True, desired, COME_UP_S)

    def _organ(self, name: str) -> Organ:
        organ = self._keeper.organs.get(name)
        if organ is None:
            known = ", ".join(sorted(self._keeper.organs)) or "none, the organism is not initialized"
            raise NotFoundError(f"There is no organ {name!r}. Known: {known}.")
        return organ

    def _get_routes(self) -> RouteTable:
        """The routes of this epoch, worked out once."""
        self._ready()
        keeper = self._keeper
        if self._routes is None or self._routes.epoch != keeper.epoch:
            self._routes = RouteTable.of(keeper.epoch, keeper.skill_organs(), keeper.organs)
        return self._routes

    def _organ_model(self, organ: Organ) -> OrganModel:
        return responses.organ_model(organ, self._keeper.skill_organs())

    def _fingerprint(self, organ: Organ) -> str:
        """Tells hosts apart that must be made anew: another version of the code, other skills, resources or limits."""
        spec = organ.spec.model_dump(mode="json", include={"num_cpus", "num_gpus", "resources", "roles", "limits"})
        made_with = [self.args.get("version", __version__), sorted(self._skills), spec]
        return hashlib.sha256(json.dumps(made_with, sort_keys=True).encode()).hexdigest()[:16]

    def _slots(self, organ: Organ) -> int:
        return organ.spec.limits.host_concurrency or self.settings.host_concurrency

    async def _evolution(self, evolution: UUID) -> schemas.EvolutionRecord:
        async with self._database.connection() as connection:
            record = await evolution_repository.get(connection, evolution)
        if record is None:
            raise NotFoundError(f"There is no evolution {evolution}; GET /organism/evolve lists them.")
        return responses.evolution(record)

    def _hand_back_before_the_end(self) -> None:
        """Ctrl-C of a `serve run` by hand: the dispatchers are killed with their Ray, and must give back first."""
        try:
            if serve_run.ends_now():
                serve_run.stop_dispatchers(self.settings)
        except (RayError, RayServeException, OSError, psutil.Error) as error:
            self.log.warning("leases end by themselves", reason=f"{type(error).__name__}: {error}")

    def _tell_where(self) -> None:
        """Leave this Ray's address in the data directory, so that what is started by hand later finds it."""
        try:
            record_ray_address(self.settings)
        except (RayConnectionError, OSError) as error:
            # A pod without a writable data directory: its clients get RAY_ADDRESS from their config map.
            self.log.info("Ray's address is not recorded", reason=str(error))


def _tagged(response: Response, organ: OrganModel) -> OrganModel:
    response.headers["ETag"] = f'"{organ.version}"'
    return organ


OrganismDeployment = serve.deployment(name="OrganismService")(serve.ingress()(OrganismService))
