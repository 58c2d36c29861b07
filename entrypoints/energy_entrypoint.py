"""The Serve application of the Energy."""

from typing import Any

from ray.serve import Application

from seedcore.energy.service import EnergyDeployment


def build_energy_app(args: dict[str, Any]) -> Application:
    """Build the application; `args` comes from the Serve config."""
    app: Application = EnergyDeployment.bind(args)
    return app
