"""Base images by debootstrap, under the names that docker/ pulls: for an engine that reaches no registry of images.

Python and PostgreSQL are real: Debian's Python, and the PostgreSQL that SeedCore itself brings along. MySQL, Redis,
Neo4j, Prometheus and Grafana, which no task of `benchmarks.containers` asks, are containers that sleep and pass their
health check. pip's configuration and certificates are the caller's (PIP_*, /etc/pip.conf, /etc/ssl/certs): a build on
these images reaches what the caller reaches.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from seedcore.stores.embedded import postgres_programs

ROOT = Path(__file__).parents[1]
PYTHON = "python:3.11-slim-bookworm"
SUITE = "bookworm"
MIRROR = "http://deb.debian.org/debian"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
IDLE = f"""FROM {PYTHON}
RUN for name in mysqladmin redis-cli wget; do ln -s /bin/true /usr/local/bin/$name; done
ENTRYPOINT ["sh", "-c", "trap exit TERM; sleep infinity & wait"]
"""
# The wheel's programs find its libraries beside its package.
PROGRAMS = postgres_programs()
WHEEL = PROGRAMS.parents[1]
POSTGRES = f"""FROM {PYTHON}
RUN useradd --uid 999 postgres
COPY pgsql /usr/local/pgsql
COPY --chmod=755 entrypoint /
ENV PATH=/usr/local/pgsql/{PROGRAMS.relative_to(WHEEL.parent)}:$PATH PGHOST=/tmp
VOLUME /var/lib/postgresql
ENTRYPOINT ["/entrypoint"]
"""
ENTRYPOINT = """#!/bin/sh
# What the image that this stands for does with the variables and the command of docker-compose.yml.
set -eu
data=/var/lib/postgresql/18/docker
as="setpriv --reuid=postgres --regid=postgres --clear-groups"
if [ ! -e $data/PG_VERSION ]; then
    mkdir -p $data
    chown -R postgres:postgres /var/lib/postgresql
    (umask 077 && echo "$POSTGRES_PASSWORD" > /tmp/password && chown postgres /tmp/password)
    $as initdb -D $data -U postgres --pwfile=/tmp/password -A scram-sha-256 --encoding=UTF8 --locale=C.UTF-8
    rm /tmp/password
    echo "host all all all scram-sha-256" >> $data/pg_hba.conf
    echo "create database $POSTGRES_DB" | $as postgres --single -D $data postgres
fi
exec $as "$@" -D $data -c "listen_addresses=*" -c unix_socket_directories=/tmp
"""
Build = Callable[[str, Path], None]


def images() -> dict[str, str]:
    """The image of each service of docker-compose.yml that is not ours."""
    services: dict[str, Any] = yaml.safe_load((ROOT / "docker/docker-compose.yml").read_text())["services"]
    return {name: service["image"] for name, service in services.items() if "build" not in service}


def make(folder: Path, environment: Mapping[str, str], build: Build) -> None:
    """Make all of them; `build` makes an image of a folder with a Dockerfile. What the engine has is left alone."""
    if not _has(PYTHON, environment):
        root = folder / "python"
        shutil.rmtree(root, ignore_errors=True)
        _debootstrap(root, environment)
        _import(root, environment)
    for service, image in images().items():
        if _has(image, environment):
            continue
        context = folder / service
        context.mkdir(parents=True)
        if service == "postgresql":
            shutil.copytree(PROGRAMS.parent, context / "pgsql" / PROGRAMS.parent.relative_to(WHEEL.parent))
            shutil.copytree(f"{WHEEL}.libs", context / "pgsql" / f"{WHEEL.name}.libs")
            (context / "entrypoint").write_text(ENTRYPOINT)
        (context / "Dockerfile").write_text(POSTGRES if service == "postgresql" else IDLE)
        build(image, context)
        shutil.rmtree(context)


def _has(image: str, environment: Mapping[str, str]) -> bool:
    command = ["docker", "image", "inspect", image]
    return subprocess.run(command, env=environment, capture_output=True, check=False).returncode == 0


def _debootstrap(root: Path, environment: Mapping[str, str]) -> None:
    include = "python3,python3-venv,ca-certificates"
    mirror = os.environ.get("DEBIAN_MIRROR", MIRROR)
    command = ["debootstrap", "--variant=minbase", f"--include={include}", SUITE, str(root), mirror]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)


def _import(root: Path, environment: Mapping[str, str]) -> None:
    (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
    shutil.copy(CERTIFICATES, root / CERTIFICATES.relative_to("/"))
    (root / "etc/pip.conf").write_text(_pip_conf(os.environ))
    path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    with subprocess.Popen(["tar", "-C", root, "-c", "."], stdout=subprocess.PIPE) as tar:
        command = ["docker", "import", "--change", f"ENV {path}", "-", PYTHON]
        subprocess.run(command, env=environment, stdin=tar.stdout, check=True, stdout=subprocess.DEVNULL)
    shutil.rmtree(root)


def _pip_conf(variables: Mapping[str, str]) -> str:
    """The machine's pip.conf, and the caller's PIP_* variables as further lines of it."""
    said = Path("/etc/pip.conf")
    text = said.read_text().rstrip() if said.exists() else ""
    if "[global]" not in text:
        text += "\n[global]"
    given = {n[4:].lower().replace("_", "-"): v for n, v in variables.items() if n.startswith("PIP_")}
    # Folders of the machine are not there.
    lines = [f"{n} = {v}" for n, v in given.items() if n != "find-links" and f"\n{n} " not in text]
    return "\n".join([text, *lines, ""])
