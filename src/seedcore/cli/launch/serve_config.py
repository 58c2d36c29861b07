"""Writes the Serve configuration of this start: serve_config/dev.yaml with the settings filled in."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import seedcore
from seedcore.errors import SettingsError
from seedcore.settings import Settings
from seedcore.utils.yaml_files import read_yaml


@dataclass(frozen=True, slots=True)
class Application:
    """One Serve application, as far as the launcher needs to know it."""

    name: str
    route_prefix: str

    @property
    def health_path(self) -> str:
        """Path of its health, from the root of the HTTP server."""
        return f"{self.route_prefix.rstrip('/')}/health"


def config_file(name: str) -> Path:
    """A file of `serve_config/`: beside the package in a checkout, inside it in an installed wheel."""
    package = Path(seedcore.__file__).parent
    for folder in (package / "serve_config", package.parents[1] / "serve_config"):
        if (folder / name).is_file():
            return folder / name
    raise SettingsError(f"serve_config/{name} is missing from this installation; install SeedCore again.")


def filled_config(settings: Settings, *, version: str = seedcore.__version__) -> dict[str, Any]:
    """dev.yaml with this start's host, port, log level and code version."""
    config: dict[str, Any] = read_yaml(config_file("dev.yaml").read_text())
    config["http_options"] |= {"host": settings.http_host, "port": settings.http_port}
    if settings.http_mode == "proxy" and settings.tls_cert is not None:
        # HAProxy gets its certificate from `seedcore-haproxy`.
        config["http_options"] |= {"ssl_certfile": str(settings.tls_cert), "ssl_keyfile": str(settings.tls_key)}
    config["logging_config"]["log_level"] = settings.log_level
    for application in config["applications"]:
        # Replaces the file's arguments: the launcher has checked what `by_hand` would check.
        application["args"] = {"version": version}
    return config


def write_config(settings: Settings) -> tuple[Path, list[Application]]:
    """Write `<data_dir>/run/serve.yaml`; returns it and its applications."""
    config = filled_config(settings)
    path = settings.data_dir / "run" / "serve.yaml"
    draft = path.with_suffix(".new")
    draft.write_text(yaml.safe_dump(config, sort_keys=False))
    draft.replace(path)
    return path, [Application(app["name"], app["route_prefix"]) for app in config["applications"]]
