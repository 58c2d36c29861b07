"""The command line as a user runs it: a process of its own, with an environment of its own."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from seedcore.api.__main__ import make_server
from seedcore.settings import Settings

Command = Callable[..., str]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def seedcore(starts_server: None, tmp_path: Path) -> Run:
    """Run `seedcore ARGS` with the given variables; the data directory is the test's own."""

    def run(*arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        environment = dict(os.environ) | {"SEEDCORE_DATA_DIR": str(tmp_path / "data")} | variables
        return subprocess.run(
            [sys.executable, "-m", "seedcore.cli.main", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.fixture
def port(pg_settings: Settings) -> Iterator[str]:
    """The port of a gateway with one key of the settings, `root`."""
    server = make_server(pg_settings.model_copy(update={"api_keys": SecretStr("root")}))
    server.config.port = 0
    thread = threading.Thread(target=server.run)
    thread.start()
    until = time.monotonic() + 30
    while not server.started:
        assert time.monotonic() < until
        time.sleep(0.02)
    yield str(server.servers[0].sockets[0].getsockname()[1])
    server.should_exit = True
    thread.join(20)


@pytest.fixture
def command(seedcore: Run, port: str) -> Command:
    """Run a command with a key, and return what it prints."""

    def run(*arguments: str, key: str = "root", status: int = 0) -> str:
        done = seedcore(*arguments, SEEDCORE_HTTP_PORT=port, SEEDCORE_API_KEY=key)
        assert done.returncode == status, done.stderr
        return done.stdout if status == 0 else done.stderr

    return run
