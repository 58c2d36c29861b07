"""The Serve application of the State."""

from typing import Any

from ray.serve import Application

from seedcore.state.service import StateDeployment


def build_state_app(args: dict[str, Any]) -> Application:
    """Build the application; `args` comes from the Serve config."""
    app: Application = StateDeployment.bind(args)
    return app
