"""The gateway on its own: `python -m seedcore.api`. It needs PostgreSQL, and works while Ray is down."""

import sys

from seedcore.errors import SettingsError
from seedcore.settings import LOOPBACK_HOSTS, get_settings
from seedcore.utils import collector
from seedcore.utils.logs import configure_logs

GRACE_S = 5


def main() -> int:
    """Serve until stopped; exit status 2 on a bad setting."""
    import uvicorn

    from seedcore.api.app import build_app

    try:
        settings = get_settings()
        if settings.http_host not in LOOPBACK_HOSTS and not settings.api_key_list:
            raise SettingsError(
                f"SEEDCORE_HTTP_HOST={settings.http_host} is not loopback: set SEEDCORE_API_KEYS as well."
            )
        configure_logs(settings)
        app = build_app(settings)
        collector.settle()
    except SettingsError as error:
        sys.stderr.write(f"{error.detail}\n")
        return 2
    uvicorn.run(
        app,
        host=settings.http_host,
        port=settings.api_port,
        log_level="warning",
        access_log=False,
        # An open event stream would keep it for ever.
        timeout_graceful_shutdown=GRACE_S,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
