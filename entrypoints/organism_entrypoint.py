"""The Serve application of the Organism."""

from functools import partial

from ray.serve import Application

from entrypoints import by_hand
from seedcore.organism.control.ray_host_provisioner import RayHostProvisioner
from seedcore.organism.service import OrganismDeployment
from seedcore.worker.actors.agent_host import AgentHost
from seedcore.worker.actors.worker_actor import WorkerActor


def build_organism_app(args: dict[str, object]) -> Application:
    """Build the application; `args` comes from the Serve config. Hosts and workers run as Ray actors."""
    by_hand.check(args)
    provisioner = partial(RayHostProvisioner, host_actor=AgentHost, worker_actor=WorkerActor)
    app: Application = OrganismDeployment.bind(args, provisioner=provisioner)
    return app
