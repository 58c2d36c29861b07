"""The Serve application of the Coordinator."""

from typing import Any

from ray.serve import Application

from entrypoints import by_hand
from seedcore.coordinator.service import CoordinatorDeployment


def build_coordinator_app(args: dict[str, Any]) -> Application:
    """Build the application; `args` comes from the Serve config."""
    by_hand.check(args)
    app: Application = CoordinatorDeployment.bind(args)
    return app
