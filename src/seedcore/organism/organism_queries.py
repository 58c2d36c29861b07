"""What the organism answers about itself: status, organs, agents, routes and the routing table."""

import time

from seedcore.decision.routing_table import RoutingTableAnswer, UnchangedRoutingTable
from seedcore.errors import UnavailableError
from seedcore.organism import responses
from seedcore.organism.control.reconcile_loop import ReconcileLoop
from seedcore.organism.desired.desired_state import Organ
from seedcore.organism.routing.table_builder import LivingAgent, living_agents
from seedcore.organism.routing.type_routes import TypeRoutes
from seedcore.schemas.organism import OrganismStatus, OrganModel

STALE_S = 30.0
"""A replica whose last pass of the control loop is older than this does not know which hosts live."""


class OrganismQueries:
    """Answers from what the control loop of this replica knows."""

    def __init__(self, reconcile_loop: ReconcileLoop) -> None:
        self._loop, self._view = reconcile_loop, reconcile_loop.view

    @property
    def observed_s(self) -> float | None:
        """Seconds since the last pass of the control loop; None before the first."""
        reconcile_loop = self._loop
        return time.monotonic() - reconcile_loop.observed_at if reconcile_loop.observed else None

    @property
    def known(self) -> bool:
        """Whether this replica knows which hosts live."""
        return self._loop.observed and time.monotonic() - self._loop.observed_at < STALE_S

    def check_ready(self) -> None:
        """Refuse to answer before there is anything to answer from.

        Raises:
            UnavailableError: this replica knows no host yet, or the organism is not initialized.
        """
        if not self._loop.observed:
            raise UnavailableError("This replica has not looked yet which hosts live.", retry_after_s=1)
        if not self._view.organs or self._view.stopped:
            raise UnavailableError("The organism is not initialized: POST /organism/initialize.", retry_after_s=2)

    def check_known(self) -> None:
        """Refuse to answer before there is a routing table; that of a stopped organism has no agents.

        Raises:
            UnavailableError: this replica knows no host yet, or the organism was never initialized.
        """
        if not self._view.stopped or not self._loop.observed or not self._view.organs:
            self.check_ready()

    def status(self) -> OrganismStatus:
        """What is desired and what lives."""
        view, reconcile_loop = self._view, self._loop
        skills, show = view.skill_organs(), responses.host_shower(view, reconcile_loop.running)
        return OrganismStatus(
            organism_initialized=view.complete,
            stopped=view.stopped,
            leads=reconcile_loop.leads,
            epoch=view.epoch,
            organs={name: responses.organ_status(organ, view, skills, show) for name, organ in view.organs.items()},
            workers=responses.workers_status(view, show),
            quarantined=responses.quarantine_items(view.quarantined, view),
            missing_organs=sorted(set(skills.values()) - set(view.organs)),
        )

    def health(self) -> dict[str, object]:
        """The health document, without the database: `ready` is what is known of hosts."""
        view, status, observed_s = self._view, self.status(), self.observed_s
        observed, workers = observed_s is not None, status.workers
        return {
            "ready": self.known and status.organism_initialized,
            "organism_initialized": status.organism_initialized if observed else None,
            "starting": not observed,
            "looked_s": None if observed_s is None else round(observed_s, 1),
            "stopped": view.stopped,
            "leads": status.leads,
            "organs": {name: f"{o.living_agents}/{o.desired_agents}" for name, o in status.organs.items()},
            "workers": {
                queue: f"{pool.alive}/{pool.desired}"
                for queue, pool in (("default", workers.default), ("graph", workers.graph))
            },
            "old_snapshots": self._loop.old_snapshots(),
            "quarantined": [item.skill for item in status.quarantined],
            "short": view.shortfalls() if observed else {},
            "missing_organs": status.missing_organs if observed else [],
        }

    def organ(self, name: str) -> Organ:
        """The desired state of an organ.

        Raises:
            NotFoundError: it does not exist.
        """
        return self._view.organ(name)

    def organ_model(self, organ: Organ) -> OrganModel:
        """An organ as it goes over the wire."""
        return responses.organ_model(organ, self._view.skill_organs())

    def organs(self) -> list[OrganModel]:
        """The desired state of every organ."""
        return [self.organ_model(organ) for organ in self._view.organs.values()]

    def routing_table(self, known_epoch: int | None) -> RoutingTableAnswer:
        """The routing table; a short answer when it is still that of `known_epoch`."""
        self.check_known()
        table = self._view.routing_table()
        if known_epoch == table["epoch"]:
            return UnchangedRoutingTable(epoch=table["epoch"], unchanged=True)
        return table

    def agents(self) -> list[LivingAgent]:
        """Living agents."""
        self.check_ready()
        return living_agents(self._view.routing_table())

    def type_routes(self) -> TypeRoutes:
        """The organs of task types and domains."""
        self.check_ready()
        return self._view.type_routes()
