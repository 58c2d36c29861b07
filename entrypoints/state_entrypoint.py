"""The Serve application of State."""

from typing import Any

from ray.serve import Application

from entrypoints import by_hand
from seedcore.state.service import StateDeployment


def build_state_app(args: dict[str, Any]) -> Application:
    """Build the application; `args` comes from the Serve config."""
    by_hand.check(args)
    app: Application = StateDeployment.bind(args)
    return app
