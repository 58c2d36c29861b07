"""The Serve application of the Organism."""

from typing import Any

from ray.serve import Application

from seedcore.organism.service import OrganismDeployment


def build_organism_app(args: dict[str, Any]) -> Application:
    """Build the application; `args` comes from the Serve config."""
    app: Application = OrganismDeployment.bind(args)
    return app
