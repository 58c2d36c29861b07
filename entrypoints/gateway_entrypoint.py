"""The Serve application of the Gateway."""

from typing import Any

from ray.serve import Application

from entrypoints import by_hand
from seedcore.api.service import GatewayDeployment


def build_gateway_app(args: dict[str, Any]) -> Application:
    """Build the application; `args` comes from the Serve config."""
    by_hand.claim(args)
    app: Application = GatewayDeployment.bind(args)
    return app
