"""Runs the gateway alone: `python -m seedcore.api`. It needs PostgreSQL, and works while Ray is down."""

import asyncio
import contextlib
import os
import socket
import sys

import uvicorn

from seedcore.api.access_log import FailureLog
from seedcore.api.app import build_app
from seedcore.errors import SettingsError
from seedcore.settings import Settings, get_settings
from seedcore.telemetry.logs import configure_logs, get_logger
from seedcore.telemetry.traces.trace_setup import configure_traces
from seedcore.utils import gc_tuning
from seedcore.utils.exposure import check_exposure
from seedcore.utils.tls.live_certificate import CHECK_EVERY_S, LiveCertificate

GRACE_S = 5


class ApiServer(uvicorn.Server):
    """Uvicorn, which logs where it serves, and that it stopped; with a certificate it speaks TLS alone.

    Args:
        config: what it serves, and where.
        certificate: its certificate, which is read again when it changes; None: plain HTTP.
    """

    def __init__(self, config: uvicorn.Config, certificate: LiveCertificate | None = None) -> None:
        super().__init__(config)
        self._certificate = certificate
        self._watch: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and log where."""
        await super().startup(sockets)
        if self.started:
            if self._certificate is not None:
                self._watch = asyncio.create_task(self._refresh(self._certificate))
            host = f"[{self.config.host}]" if ":" in self.config.host else self.config.host
            scheme = "https" if self._certificate else "http"
            get_logger("seedcore.api").info("serving", url=f"{scheme}://{host}:{self.config.port}", health="/health")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close connections, and log it."""
        if self._watch is not None:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch
        await super().shutdown(sockets)
        get_logger("seedcore.api").info("stopped")

    @staticmethod
    async def _refresh(certificate: LiveCertificate) -> None:
        while True:
            await asyncio.sleep(CHECK_EVERY_S)
            await asyncio.to_thread(certificate.refresh)


def main() -> int:
    """Serve until stopped; exit status 2 on a bad setting, 1 when the port is taken."""
    try:
        settings = get_settings()
        check_exposure(settings)
        configure_logs(settings)
        configure_traces(settings, f"gateway-{os.getpid()}")
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
        SettingsError: skills that a setting names cannot be loaded, or the certificate cannot.
    """
    certificate = None
    if settings.tls_cert is not None and settings.tls_key is not None:
        certificate = LiveCertificate(settings.tls_cert, settings.tls_key)
    config = uvicorn.Config(
        FailureLog(build_app(settings)),
        host=settings.http_host,
        port=settings.api_port,
        log_level="warning",
        access_log=False,
        ssl_context_factory=None if certificate is None else lambda _config, _default: certificate.context,
        # An open event stream would keep it from stopping.
        timeout_graceful_shutdown=GRACE_S,
    )
    return ApiServer(config, certificate)


if __name__ == "__main__":
    sys.exit(main())
