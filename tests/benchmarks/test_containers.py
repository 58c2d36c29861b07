"""The benchmark of containers, as far as no engine is needed: why it skips, and what its base images are made of."""

import configparser
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import base_images, containers


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, str]]:
    """Puts programs into a folder that is the whole path; root asks, and no port is taken."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(containers, "PORTS", ())
    monkeypatch.setattr(containers, "ROOM", 0)

    def add(*names: str, status: int = 0) -> dict[str, str]:
        for name in names:
            (folder / name).write_text(f"#!/bin/sh\nexit {status}\n")
            (folder / name).chmod(0o755)
        return {"PATH": str(folder)}

    return add


ALL = tuple(program for program, package in containers.PROGRAMS)


def test_containers_skip_without_root(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(sys, "argv", ["containers", "--folder", str(tmp_path)])
    assert containers.main() == containers.SKIPPED
    assert capsys.readouterr().out == "skipped: an engine and debootstrap need root\n"


@pytest.mark.parametrize(("program", "package"), [("dockerd", "docker.io"), ("debootstrap", "debootstrap")])
def test_containers_skip_without_debian_s_programs(
    programs: Callable[..., dict[str, str]], tmp_path: Path, program: str, package: str
):
    environment = programs(*(name for name in ALL if name != program))
    assert containers.missing(tmp_path, environment) == f"{program} is missing: install Debian's {package}"


def test_containers_skip_without_compose(programs: Callable[..., dict[str, str]], tmp_path: Path):
    assert "cli-plugins" in str(containers.missing(tmp_path, programs(*ALL, status=1)))


@pytest.mark.integration
def test_containers_skip_where_a_port_is_taken_or_the_disk_is_full(
    programs: Callable[..., dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    environment = programs(*ALL)
    assert containers.missing(tmp_path, environment) is None
    with socket.socket() as server:
        server.bind((containers.BIND, 0))
        server.listen()
        port = server.getsockname()[1]
        monkeypatch.setattr(containers, "PORTS", (port,))
        assert containers.missing(tmp_path, environment) == f"another program listens on [{port}]"
    monkeypatch.setattr(containers, "PORTS", ())
    monkeypatch.setattr(containers, "ROOM", 1 << 60)
    assert "--folder" in str(containers.missing(tmp_path, environment))


def test_what_is_copied_for_the_build_is_what_the_build_may_use():
    let_in = (containers.ROOT / ".dockerignore").read_text()
    for name in (*containers.CONTEXT, *containers.FILES):
        assert (containers.ROOT / name).exists()
        assert name == ".dockerignore" or f"!{name}" in let_in


def test_every_image_that_compose_pulls_is_made_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(base_images, "_has", lambda image, environment: image == base_images.PYTHON)
    made = {}

    def build(image: str, context: Path) -> None:
        made[image] = (context / "Dockerfile").read_text()
        if "pgvector" in image:
            (programs,) = (context / "pgsql").glob("**/bin")
            # They run where they were copied to: their libraries went with them.
            for name in ("initdb", "postgres", "pg_isready", "psql"):
                assert subprocess.run([programs / name, "--version"], capture_output=True).returncode == 0

    base_images.make(tmp_path, {}, build)
    assert set(made) == set(base_images.images().values())
    assert {image for image, text in made.items() if "sleep infinity" not in text} == {"pgvector/pgvector:0.8.1-pg18"}
    assert list(tmp_path.iterdir()) == []


def test_pip_in_the_base_image_is_configured_as_the_caller_s(tmp_path: Path):
    given = {"PIP_INDEX_URL": "http://packages.example/simple", "PIP_FIND_LINKS": "/somewhere", "HOME": "/root"}
    parser = configparser.ConfigParser()
    parser.read_string(base_images._pip_conf(given))
    assert parser["global"]["index-url"] == "http://packages.example/simple"
    assert "find-links" not in parser["global"], "a folder of the machine"
