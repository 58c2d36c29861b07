"""The Serve application of the Organism."""

from typing import Any

from ray.serve import Application

from entrypoints import by_hand
from seedcore.organism.service import OrganismDeployment


def build_organism_app(args: dict[str, Any]) -> Application:
    """Build the application; `args` comes from the Serve config."""
    by_hand.check(args)
    app: Application = OrganismDeployment.bind(args)
    return app
