"""The Serve application of Energy."""

from typing import Any

from ray.serve import Application

from entrypoints import by_hand
from seedcore.energy.service import EnergyDeployment


def build_energy_app(args: dict[str, Any]) -> Application:
    """Build the application; `args` comes from the Serve config."""
    by_hand.check(args)
    app: Application = EnergyDeployment.bind(args)
    return app
