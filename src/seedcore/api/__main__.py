"""Runs the gateway alone: `python -m seedcore.api`. It needs PostgreSQL, and works while Ray is down."""

import socket
import sys

import uvicorn

from seedcore.api.access_log import FailureLog
from seedcore.api.app import build_app
from seedcore.errors import SettingsError
from seedcore.settings import Settings, get_settings
from seedcore.telemetry.logs import configure_logs, get_logger
from seedcore.utils import gc_tuning
from seedcore.utils.exposure import check_exposure

GRACE_S = 5


class ApiServer(uvicorn.Server):
    """Uvicorn, which logs where it serves, and that it stopped."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and log where."""
        await super().startup(sockets)
        if self.started:
            host = f"[{self.config.host}]" if ":" in self.config.host else self.config.host
            get_logger("seedcore.api").info("serving", url=f"http://{host}:{self.config.port}", health="/health")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close connections, and log it."""
        await super().shutdown(sockets)
        get_logger("seedcore.api").info("stopped")


def main() -> int:
    """Serve until stopped; exit status 2 on a bad setting, 1 when the port is taken."""
    try:
        settings = get_settings()
        check_exposure(settings)
        configure_logs(settings)
        server = make_server(settings)
    except SettingsError as error:
        sys.stderr.write(f"{error.detail}\n")
        return 2
    gc_tuning.settle()
    server.run()
    return 0 if server.started else 1


def make_server(settings: Settings) -> ApiServer:
    """The server of the gateway's application.

    Raises:
        SettingsError: skills that a setting names cannot be loaded.
    """
    config = uvicorn.Config(
        FailureLog(build_app(settings)),
        host=settings.http_host,
        port=settings.api_port,
        log_level="warning",
        access_log=False,
        # An open event stream would keep it from stopping.
        timeout_graceful_shutdown=GRACE_S,
    )
    return ApiServer(config)


if __name__ == "__main__":
    sys.exit(main())
