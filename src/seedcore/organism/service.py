"""The Organism's Serve deployment."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from pydantic import ValidationError
from ray import serve
from ray.exceptions import RayError

from seedcore.errors import (
    DeadlineError,
    FieldError,
    InvalidInputError,
    NotFoundError,
    RayConnectionError,
    SeedCoreError,
    SkillError,
    UnavailableError,
    wrong_fields,
)
from seedcore.organism.organs import OrganSpec, load_organs
from seedcore.organism.ray_pool import RayHostPool
from seedcore.organism.reconcile import Reconciler
from seedcore.organism.roster import Roster
from seedcore.organism.schemas import (
    ExecuteOnOrgan,
    ExecuteResult,
    FleetRequest,
    HostStatus,
    OrganismStatus,
    OrganStatus,
    ResolveRoute,
)
from seedcore.organism.store import OrganStore
from seedcore.organism.table import Members, Skills, agents_of, build_table
from seedcore.skills.calls import Call, Completion
from seedcore.skills.registry import SkillRegistry
from seedcore.stores.postgres import Database
from seedcore.utils.ray_record import record_ray_address
from seedcore.utils.serving import Operation, ServiceBase

ROUND_S = 1.0


class OrganismService(ServiceBase):
    """Keeps the hosts alive and knows who lives where."""

    name = "organism"

    async def start(self) -> None:
        """Take up the desired organs that the database holds: a restarted replica goes on by itself."""
        self._skills = SkillRegistry.load(self.settings)
        self._database = Database(self.settings, size=2, name="seedcore-organism")
        self._store = OrganStore(self._database)
        self._pool = RayHostPool(self.settings)
        self._reconciler = Reconciler(self._pool)
        self._busy = asyncio.Lock()
        self._turn = 0
        self._table: dict[str, Any] | None = None
        self._loop = asyncio.create_task(self._reconcile(), name="reconcile")
        await asyncio.to_thread(self._tell_where)

    async def stop(self) -> None:
        """Stop reconciling; the hosts live on."""
        self._loop.cancel()
        await asyncio.gather(self._loop, return_exceptions=True)
        await self._database.aclose()

    def operations(self) -> Sequence[Operation]:
        """What the Organism does."""
        return [
            Operation("POST", "/initialize", self.initialize, summary="Bring every organ to its desired size"),
            Operation("GET", "/status", self.status, summary="Organs and hosts"),
            Operation("GET", "/fleet", self.fleet, FleetRequest, summary="The routing table"),
            Operation("GET", "/agents", self.agents, summary="Living agents"),
            Operation("POST", "/resolve-route", self.resolve_route, ResolveRoute, summary="Which organ runs a type"),
            Operation("POST", "/execute-on-organ", self.execute_on_organ, ExecuteOnOrgan, summary="Run a task now"),
        ]

    async def initialize(self) -> OrganismStatus:
        """Make the organs of the organs file the desired ones, and bring them up; doing it again changes nothing.

        Raises:
            UnavailableError: a host does not come up; the reconcile loop goes on trying.
        """
        organs = load_organs(self.settings)
        if not self._reconciler.hosts:
            # What an earlier replica made and nobody wants any more must go, too.
            await self._take_up()
        await self._store.save({name: spec.model_dump(mode="json") for name, spec in organs.items()})
        async with self._busy:
            self._reconciler.desire(organs)
            await self._reconciler.round()
        status = await self.status()
        if not status.organism_initialized:
            silent = [host.name for organ in status.organs.values() for host in organ.hosts if not host.alive]
            raise UnavailableError(f"Not up yet: {', '.join(silent)}.", retry_after_s=2)
        return status

    async def status(self) -> OrganismStatus:
        """What is desired and what lives."""
        organs = {name: OrganStatus(desired_agents=s.agents, living_agents=0, hosts=[]) for name, s in self._organs()}
        for state in self._reconciler.hosts.values():
            organ = organs[state.plan.organ]
            organ.living_agents = organ.desired_agents if state.alive else organ.living_agents
            organ.hosts.append(
                HostStatus(
                    name=state.plan.name,
                    organ=state.plan.organ,
                    alive=state.alive,
                    reason=state.reason,
                )
            )
        wanted = {spec.organ for spec in self._skills.values()}
        return OrganismStatus(
            organism_initialized=self._reconciler.complete,
            epoch=self._reconciler.epoch,
            organs=organs,
            missing_organs=sorted(wanted - set(organs)),
        )

    async def fleet(self, request: FleetRequest) -> dict[str, Any]:
        """Who lives where, and which organ runs which skill, by columns; short when the asker's table still holds."""
        if not self._reconciler.hosts:
            raise UnavailableError("The organism is not initialized: POST /organism/initialize.", retry_after_s=2)
        table = self._get_table()
        return {"epoch": table["epoch"], "unchanged": True} if request.epoch == table["epoch"] else table

    async def agents(self) -> dict[str, Any]:
        """Living agents with organ and host."""
        await self.fleet(FleetRequest(epoch=None))
        return {"items": agents_of(self._get_table())}

    def _get_table(self) -> dict[str, Any]:
        """The table of this epoch, built once."""
        reconciler = self._reconciler
        if self._table is None or self._table["epoch"] != reconciler.epoch:
            members = {organ: Members.of(organ, spec, Roster()) for organ, spec in reconciler.organs.items()}
            living: dict[str, list[str]] = {}
            for state in reconciler.hosts.values():
                if state.alive:
                    living.setdefault(state.plan.organ, []).append(state.plan.name)
            skills = Skills(
                {spec.name: spec.organ for spec in self._skills.values()},
                {spec.name: spec.timeout_s for spec in self._skills.values() if spec.timeout_s is not None},
            )
            self._table = build_table(reconciler.epoch, members, living, {}, skills)
        return self._table

    async def resolve_route(self, request: ResolveRoute) -> dict[str, Any]:
        """The organ of a task type."""
        spec = self._skills.find(request.type)
        return {"type": spec.name, "organ_id": spec.organ, "epoch": self._reconciler.epoch}

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
        if request.organ_id not in self._reconciler.organs:
            known = ", ".join(sorted(self._reconciler.organs)) or "none, the organism is not initialized"
            raise NotFoundError(f"There is no organ {request.organ_id!r}. Known: {known}.")
        if spec.organ != request.organ_id:
            message = f"skill {spec.name!r} belongs to organ {spec.organ!r}, not {request.organ_id!r}"
            raise InvalidInputError(f"organ_id: {message}.", errors=[FieldError("organ_id", message)])
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

    async def health(self) -> Mapping[str, Any]:
        """Ready when every organ has its minimum."""
        status = await self.status()
        database = await self._database.ready()
        return {
            "ready": status.organism_initialized and database["ready"],
            "organism_initialized": status.organism_initialized,
            "organs": {name: f"{o.living_agents}/{o.desired_agents}" for name, o in status.organs.items()},
            "missing_organs": status.missing_organs,
            "postgres": database,
        }

    def _tell_where(self) -> None:
        """Leave this Ray's address in the data directory, so that what is started by hand later finds it."""
        try:
            record_ray_address(self.settings)
        except (RayConnectionError, OSError) as error:
            # A pod without a writable data directory: its clients get RAY_ADDRESS from their config map.
            self.log.info("Ray's address is not recorded", reason=str(error))

    def _organs(self) -> Sequence[tuple[str, OrganSpec]]:
        return sorted(self._reconciler.organs.items())

    def _next_agent(self, organ: str) -> tuple[str, str]:
        """Agents of an organ in turn: the agent's id and its host."""
        own = self._get_table()["organs"].get(organ)
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
        except RayError as error:
            raise UnavailableError(f"Host {host} does not answer: {type(error).__name__}.", retry_after_s=1) from error
        return answer

    async def _reconcile(self) -> None:
        while True:
            try:
                if not self._reconciler.hosts:
                    await self._take_up()
                async with self._busy:
                    await self._reconciler.round()
            except SeedCoreError as error:
                self.log.warning("cannot reconcile", reason=error.detail)
            except Exception as error:
                self.log.error("reconcile broke", exc_info=error)
            await asyncio.sleep(ROUND_S)

    async def _take_up(self) -> None:
        stored = await self._store.load()
        if not stored:
            return
        try:
            organs = {name: OrganSpec.model_validate(spec) for name, spec in stored.items()}
        except ValidationError as error:
            # Another version wrote them; POST /initialize replaces them.
            fields = [e.field for e in wrong_fields(error.errors(include_url=False, include_input=False))]
            self.log.error("the stored organs do not fit this version", fields=fields)
            return
        async with self._busy:
            self._reconciler.desire(organs)


OrganismDeployment = serve.deployment(name="OrganismService")(serve.ingress()(OrganismService))
