"""`serve run` without Ray's dashboard and with known ports for its agents, as SeedCore's launcher runs it."""

import functools

import ray
from ray.serve.scripts import cli

from seedcore.cli.launch.ray_start import agent_ports, name_agent_ports
from seedcore.settings import get_settings

if __name__ == "__main__":
    settings = get_settings()
    ray.init = functools.partial(ray.init, include_dashboard=settings.ray_dashboard)
    name_agent_ports(ray, agent_ports(settings))
    cli()
