"""The gateway's Serve deployment."""

import os
from collections.abc import Mapping

from fastapi import FastAPI
from ray import serve

from seedcore.api.app import build_app
from seedcore.settings import get_settings
from seedcore.telemetry.logs import configure_logs
from seedcore.telemetry.traces.trace_setup import configure_traces
from seedcore.utils import gc_tuning
from seedcore.utils.ray_utils import refuse_embedded_on_many_nodes


class GatewayService:
    """Serves /api/v1 from a Ray Serve replica."""

    def __init__(self, args: Mapping[str, object] | None = None) -> None:
        self.args = dict(args or {})
        self.settings = get_settings()
        configure_logs(self.settings)
        configure_traces(self.settings, f"gateway-{os.getpid()}")
        refuse_embedded_on_many_nodes(self.settings)

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Ray Serve calls this in the replica, after the constructor."""
        app = build_app(self.settings)
        gc_tuning.settle()
        return app


GatewayDeployment = serve.deployment(name="Gateway")(serve.ingress()(GatewayService))
