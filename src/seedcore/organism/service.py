"""The Organism's Serve deployment: routes requests to commands and queries, and runs the control loop."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated
from uuid import UUID

import psutil
from fastapi import Body, FastAPI, Header, Response
from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

from seedcore import __version__
from seedcore.decision.routing_table import RoutingTableAnswer
from seedcore.errors import InvalidInputError, RayConnectionError
from seedcore.fleet.organ_spec import HOSTS_REFUSED, OrganId, OrganSpec, load_organs
from seedcore.organism import responses
from seedcore.organism.control.foresight import Foresight
from seedcore.organism.control.host import host_fingerprint
from seedcore.organism.control.host_provisioner import HostProvisioner
from seedcore.organism.control.organism_view import OrganismView
from seedcore.organism.control.reconcile_loop import ReconcileLoop
from seedcore.organism.control.reconciler import Reconciler
from seedcore.organism.control.reserved_pools import configured_workers
from seedcore.organism.desired.desired_state import Organ
from seedcore.organism.desired.desired_state_writer import DesiredStateWriter
from seedcore.organism.desired.repository import OrganismRepository
from seedcore.organism.execute_on_organ import OrganExecutor
from seedcore.organism.organism_commands import OrganismCommands
from seedcore.organism.organism_queries import OrganismQueries
from seedcore.organism.routing.table_builder import LivingAgent, SkillDeclarations
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
from seedcore.service_clients.ml_client import MLClient
from seedcore.settings import Settings
from seedcore.skills.registry import SkillRegistry
from seedcore.stores.postgres import DATABASE_ERRORS, Database
from seedcore.utils import serve_run
from seedcore.utils.ray_record import record_ray_address
from seedcore.web.service_base import Operation, ServiceBase

FIRST_PASS_S = 5.0
"""A replica that starts waits so long for the first pass of its control loop before it answers."""


class OrganismService(ServiceBase):
    """Keeps the hosts alive, and knows which agents live where.

    Args:
        args: the `args` of the application in the Serve config.
        settings: the settings; None: those of the process.
        provisioner: makes what creates, pings and removes hosts, from the settings.
    """

    name = "organism"

    def __init__(
        self,
        args: Mapping[str, object] | None = None,
        settings: Settings | None = None,
        *,
        provisioner: Callable[[Settings], HostProvisioner],
    ) -> None:
        super().__init__(args, settings)
        self._make_provisioner = provisioner

    async def start(self) -> None:
        """Read what the database holds and which hosts live, so that a restarted replica knows them at once."""
        skills = SkillRegistry.load(self.settings)
        self._skill_names, declared = sorted(skills), SkillDeclarations.of(skills.values())
        self._database = Database(self.settings, size=3, name="seedcore-organism")
        self._hosts = self._make_provisioner(self.settings)
        writer = DesiredStateWriter(self._database, declared.organ, self.settings.energy_v)
        reconciler = Reconciler(self._hosts, self._fingerprint, self._slots, self.settings.drain_s)
        view = OrganismView(declared, self._fingerprint, configured_workers(self.settings))
        self._ml = MLClient(self.settings, timeout_s=5)
        self._foresight = Foresight(self._ml, view, self.settings.scale_ahead_s, lambda: self._loop.leads)
        reconciler.foreseen = self._foresight.load
        repository = OrganismRepository(self._database)
        self._loop = ReconcileLoop(repository, reconciler, view, writer.measure_settled)
        self._commands = OrganismCommands(self._database, self._loop, writer)
        self._queries = OrganismQueries(self._loop)
        self._executor = OrganExecutor(skills, view, self._hosts)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_PASS_S):
                await self._loop.try_reconcile()
        self._control_loop = asyncio.create_task(self._loop.run(), name="control-loop")
        self._foresight.start()
        await asyncio.to_thread(self._record_ray_address)

    async def stop(self) -> None:
        """Let another replica lead; the hosts live on, unless the whole Ray ends with `serve run`."""
        self._control_loop.cancel()
        await self._foresight.stop()
        await self._ml.aclose()
        await asyncio.gather(self._control_loop, return_exceptions=True)
        # Only now: the loop would replace workers that have stopped.
        await asyncio.to_thread(self._release_leases)
        with contextlib.suppress(*DATABASE_ERRORS):
            await self._loop.resign()
        await self._database.aclose()

    def own_database(self) -> Database:
        """The pool that keys are looked up and metrics are written through."""
        return self._database

    def operations(self) -> Sequence[Operation]:
        """What the Organism does."""
        return [
            Operation("POST", "/initialize", self.initialize, summary="Apply the organs file and bring organs up"),
            Operation("POST", "/shutdown", self.shutdown, summary="Drain and stop every host"),
            Operation("GET", "/status", self.status, summary="Organs, hosts and workers"),
            Operation("PUT", "/workers", self.put_workers, schemas.WorkerNumbers, summary="How many workers to have"),
            Operation("GET", "/quarantine", self.quarantine, summary="Skills that run alone"),
            Operation("GET", "/fleet", self.fleet, FleetRequest, summary="The routing table"),
            Operation("GET", "/agents", self.agents, summary="Living agents"),
            Operation("GET", "/organs", self.organs, summary="The desired state of every organ"),
            Operation(
                "POST", "/resolve-route", self.resolve_route, ResolveRoute, summary="The organ of a type or domain"
            ),
            Operation("POST", "/resolve-routes", self.resolve_routes, ResolveRoutes, summary="The same for many"),
            Operation("POST", "/execute-on-organ", self.execute_on_organ, ExecuteOnOrgan, summary="Run a task now"),
            Operation("POST", "/evolve", self.evolve, EvolveRequest, summary="Split, merge, clone or retire"),
        ]

    def extend(self, app: FastAPI) -> None:
        """Single organs by id, and past evolutions."""

        @app.get("/organs/{organ_id}", response_model=OrganModel)
        async def get_organ(organ_id: str, response: Response) -> OrganModel:
            """The desired state of an organ; the ETag is its version."""
            return self._tagged(response, self._queries.organ(organ_id))

        @app.put("/organs/{organ_id}", response_model=OrganModel)
        async def put_organ(
            organ_id: OrganId,
            spec: Annotated[OrganSpec, Body()],
            response: Response,
            if_match: Annotated[str | None, Header()] = None,
        ) -> OrganModel:
            """Replace the desired state of an organ; 412 when If-Match names another version."""
            if spec.hosts_refused:
                raise InvalidInputError.for_field("hosts", HOSTS_REFUSED)
            version = responses.if_match_version(if_match)
            organ, created = await self._commands.put_organ(organ_id, spec, version)
            response.status_code = 201 if created else 200
            return self._tagged(response, organ)

        @app.delete("/organs/{organ_id}", status_code=204)
        async def delete_organ(organ_id: str, if_match: Annotated[str | None, Header()] = None) -> None:
            """Remove an organ; 409 while skills run there."""
            await self._commands.remove_organ(organ_id, responses.if_match_version(if_match))

        @app.post("/quarantine/{skill:path}/release")
        async def release_skill(skill: str) -> schemas.Quarantine:
            """End a skill's quarantine: it goes back to its organ. 404 when it is not quarantined."""
            await self._commands.release_skill(skill)
            return await self.quarantine()

        @app.get("/evolve", response_model=schemas.Evolutions)
        async def get_evolutions(limit: int = 100) -> schemas.Evolutions:
            """The last evolutions, newest first."""
            rows = await self._commands.latest_evolutions(min(max(limit, 1), 1000))
            return schemas.Evolutions(items=[responses.evolution_record(row) for row in rows])

        @app.post("/evolve/{evolution}/undo", response_model=schemas.EvolutionRecord)
        async def undo(evolution: UUID) -> schemas.EvolutionRecord:
            """Undo an evolution; 409 when one of its organs has been changed since."""
            return responses.evolution_record(await self._commands.undo(evolution))

    async def initialize(self) -> OrganismStatus:
        """Apply the organs file, and bring every organ up; doing it again changes nothing.

        The file wins for the organs that have changed in it since it was last applied.

        Raises:
            UnavailableError: a host does not come up in time; the control loop goes on trying.
        """
        await self._commands.initialize(load_organs(self.settings))
        return await self.status()

    async def put_workers(self, numbers: schemas.WorkerNumbers) -> schemas.WorkersStatus:
        """Set how many workers there are to be, in place of the settings. It is permanent; doing it again changes
        nothing. It does not wait for workers: the answer says how many are alive."""
        await self._commands.set_workers(numbers)
        return self._queries.status().workers

    async def quarantine(self) -> schemas.Quarantine:
        """The skills that have ended processes again and again, each of which runs in a host of its own."""
        quarantined = await self._commands.quarantined()
        return schemas.Quarantine(items=responses.quarantine_items(quarantined, self._loop.view))

    async def shutdown(self) -> OrganismStatus:
        """Drain and stop every host. The organism stays stopped, also after a restart, until `POST /initialize`.

        Workers go on, but no agent lives in them meanwhile.
        """
        await self._commands.shutdown()
        return await self.status()

    async def evolve(self, request: EvolveRequest) -> schemas.EvolutionRecord:
        """Split, merge, clone or retire; answers when that has taken effect and was measured, or its time is up."""
        self._queries.check_ready()
        return responses.evolution_record(await self._commands.evolve(request))

    async def organs(self) -> dict[str, list[OrganModel]]:
        """The desired state of every organ."""
        return {"items": self._queries.organs()}

    async def status(self) -> OrganismStatus:
        """What is desired and what lives."""
        return self._queries.status()

    async def fleet(self, request: FleetRequest) -> RoutingTableAnswer:
        """Which agents live where, and which organ runs which skill, by columns; a short answer when the caller's table
        is still valid."""
        return self._queries.routing_table(request.epoch)

    async def agents(self) -> dict[str, list[LivingAgent]]:
        """Living agents with organ, host and lifecycle."""
        return {"items": self._queries.agents()}

    async def resolve_route(self, request: ResolveRoute) -> Route:
        """The organ of a task type, or of a domain.

        Raises:
            NotFoundError: no organ runs the type or serves the domain.
        """
        routes = self._queries.type_routes()
        organ, source = routes.resolve(request.type, request.domain)
        return Route(organ_id=organ, resolved_from=source, epoch=routes.epoch)

    async def resolve_routes(self, request: ResolveRoutes) -> Routes:
        """The organ of each of many types or domains; an error of one is its own answer."""
        routes = self._queries.type_routes()
        return Routes(items=[responses.route_answer(routes, item) for item in request.items], epoch=routes.epoch)

    async def execute_on_organ(self, request: ExecuteOnOrgan) -> ExecuteResult:
        """Run one task on an agent of the organ, past the queue: at most once, and nothing is stored.

        Raises:
            NotFoundError: there is no such organ or skill.
            InvalidInputError: the skill belongs to another organ, or the params do not fit.
            UnavailableError: the organ has no living host.
            DeadlineError: it took longer than `organ_timeout_s`.
            SkillError: the skill failed.
        """
        return await self._executor.execute(request)

    async def health(self) -> Mapping[str, object]:
        """Ready when every organ with hosts of its own has its minimum. Until this replica knows which hosts live, that
        is unknown: null. Missing workers are in `short`."""
        database = await self._database.ready()
        facts = self._queries.health()
        ahead = {"scale_ahead": self._foresight.health()} if self.settings.scale_ahead_s else {}
        return {**facts, **ahead, "ready": facts["ready"] and database["ready"], "postgres": database}

    def _tagged(self, response: Response, organ: Organ) -> OrganModel:
        response.headers["ETag"] = f'"{organ.version}"'
        return self._queries.organ_model(organ)

    def _fingerprint(self, organ: Organ) -> str:
        return host_fingerprint(organ.spec, str(self.args.get("version", __version__)), self._skill_names)

    def _slots(self, organ: Organ) -> int:
        return organ.spec.limits.host_concurrency or self.settings.host_concurrency

    def _release_leases(self) -> None:
        """Ctrl-C of a `serve run` by hand: the dispatchers are killed with their Ray, and must release leases first."""
        try:
            if serve_run.ends_now():
                serve_run.stop_dispatchers(self.settings)
        except (RayError, RayServeException, OSError, psutil.Error) as error:
            self.log.warning("leases not released, they will expire", reason=f"{type(error).__name__}: {error}")

    def _record_ray_address(self) -> None:
        """Write this Ray's address to the data directory, where processes that are started by hand later find it."""
        try:
            record_ray_address(self.settings)
        except (RayConnectionError, OSError) as error:
            # A pod without a writable data directory: its clients get RAY_ADDRESS from their config map.
            self.log.info("Ray address not recorded", reason=str(error))


OrganismDeployment = serve.deployment(name="OrganismService")(serve.ingress()(OrganismService))
