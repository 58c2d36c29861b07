"""A MariaDB of each module's own."""

import os
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

SERVER = shutil.which("mariadbd", path="/usr/sbin:/usr/local/sbin:" + os.environ.get("PATH", ""))


@pytest.fixture(scope="module")
def mariadb(starts_server: None) -> Iterator[str]:
    """DSN of a MariaDB of this module's own, without the database's name."""
    if SERVER is None:
        missing = "mariadbd is missing"
        pytest.fail(missing) if os.environ.get("SEEDCORE_REQUIRE_SERVICES") == "1" else pytest.skip(missing)
    folder = Path("/tmp") / f"scm{uuid.uuid4().hex[:8]}"
    folder.mkdir(mode=0o755)
    # As root it needs to be told that running as root is meant.
    as_user = ["--user=root"] if os.geteuid() == 0 else []
    install = ["mariadb-install-db", "--no-defaults", f"--datadir={folder}/data", *as_user]
    subprocess.run([*install, "--auth-root-authentication-method=normal"], check=True, capture_output=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # A zone of its own shows that times do not depend on the server's.
    options = ["--bind-address=127.0.0.1", "--innodb-buffer-pool-size=16M", "--default-time-zone=+05:00", *as_user]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [SERVER, "--no-defaults", f"--datadir={folder}/data", f"--socket={folder}/s", f"--port={port}", *options],
            stdout=log,
            stderr=log,
        )
    client = ["mariadb", "--no-defaults", f"--socket={folder}/s", "-uroot", "-e"]
    databases = "".join(f"CREATE DATABASE {name}; " for name in ("seedcore", "empty", "raced"))
    grant = f"{databases} GRANT ALL ON *.* TO seed@'127.0.0.1' IDENTIFIED BY 'hunter2'"
    deadline = time.monotonic() + 60
    while subprocess.run([*client, grant], capture_output=True).returncode != 0:
        assert process.poll() is None, (folder / "log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    yield f"mysql+mysqlconnector://seed:hunter2@127.0.0.1:{port}"
    process.terminate()
    process.wait()
    shutil.rmtree(folder)
