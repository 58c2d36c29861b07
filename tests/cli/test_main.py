"""The command line, called as a process: exit statuses, one-line errors, and nothing half-written."""

import fcntl
import json
import os
import socket
import sys
from pathlib import Path

import pytest

from seedcore import __version__
from seedcore.cli.main import main
from tests.cli.conftest import Run


def test_the_version_is_shown(seedcore: Run) -> None:
    done = seedcore("--version")
    assert (done.returncode, done.stdout) == (0, f"seedcore {__version__}\n")


def test_help_lists_every_command(seedcore: Run) -> None:
    shown = seedcore("--help").stdout
    assert all(command in shown for command in ("run", "migrate", "config"))


def test_an_unknown_command_ends_with_2(seedcore: Run) -> None:
    assert seedcore("dance").returncode == 2


def test_the_settings_are_shown_with_secrets_masked(seedcore: Run) -> None:
    done = seedcore("config", "check", "--json", SEEDCORE_API_KEYS="hunter2", SEEDCORE_HTTP_PORT="8123")
    shown = json.loads(done.stdout)
    assert shown["SEEDCORE_HTTP_PORT"] == 8123
    assert shown["SEEDCORE_API_KEYS"] == "***"
    assert "hunter2" not in done.stdout + done.stderr


def test_a_bad_setting_ends_with_2_and_one_line_that_names_it(seedcore: Run, tmp_path: Path) -> None:
    done = seedcore("run", SEEDCORE_HTTP_PORT="eighty")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "SEEDCORE_HTTP_PORT='eighty'" in done.stderr
    assert "integer" in done.stderr
    assert not (tmp_path / "data").exists()


def test_a_value_out_of_range_says_what_is_allowed(seedcore: Run) -> None:
    done = seedcore("config", "check", SEEDCORE_HTTP_PORT="70000")
    assert done.returncode == 2
    assert "65535" in done.stderr


def test_a_choice_says_what_is_allowed(seedcore: Run) -> None:
    done = seedcore("config", "check", BOOTSTRAP_MODE="some")
    assert done.returncode == 2
    assert all(choice in done.stderr for choice in ("all", "organism", "dispatchers"))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "example.org"])
def test_an_open_host_without_keys_ends_with_2(seedcore: Run, tmp_path: Path, host: str) -> None:
    done = seedcore("run", SEEDCORE_HTTP_HOST=host)
    assert done.returncode == 2
    assert "SEEDCORE_HTTP_HOST" in done.stderr
    assert "SEEDCORE_API_KEYS" in done.stderr
    assert not (tmp_path / "data").exists()


def test_a_busy_port_ends_with_2_and_names_the_setting(seedcore: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        done = seedcore("run", SEEDCORE_HTTP_PORT=str(port))
    assert done.returncode == 2
    assert f"SEEDCORE_HTTP_PORT={port}" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_foreign_address_ends_with_2_and_names_the_setting(seedcore: Run) -> None:
    done = seedcore("run", SEEDCORE_HTTP_HOST="192.0.2.77", SEEDCORE_API_KEYS="key")
    assert done.returncode == 2
    assert "SEEDCORE_HTTP_HOST" in done.stderr


def test_a_data_directory_that_cannot_be_made_ends_with_2(seedcore: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = seedcore("run", SEEDCORE_DATA_DIR=str(tmp_path / "file" / "data"))
    assert done.returncode == 2
    assert f"SEEDCORE_DATA_DIR={tmp_path / 'file' / 'data'}" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_data_directory_that_cannot_be_written_ends_with_2(seedcore: Run, tmp_path: Path) -> None:
    closed = Path("/sys/kernel")
    if os.geteuid() != 0:
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o500)
    done = seedcore("run", SEEDCORE_DATA_DIR=str(closed))
    assert done.returncode == 2
    assert f"SEEDCORE_DATA_DIR={closed}" in done.stderr


def test_a_second_start_on_the_same_data_directory_ends_with_2(seedcore: Run, tmp_path: Path) -> None:
    lock = tmp_path / "data" / "run" / "launcher.lock"
    lock.parent.mkdir(parents=True)
    with lock.open("w") as held:
        held.write("4711")
        held.flush()
        fcntl.flock(held, fcntl.LOCK_EX)
        done = seedcore("run")
    assert done.returncode == 2
    assert f"SEEDCORE_DATA_DIR={tmp_path / 'data'}" in done.stderr
    assert "4711" in done.stderr


def test_a_database_that_refuses_ends_with_2_and_hides_the_password(seedcore: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    dsn = f"postgresql://me:hunter2@127.0.0.1:{port}/work?password=hunter3"
    with socket.create_server(("127.0.0.1", 0)) as free:
        http = str(free.getsockname()[1])
    done = seedcore("run", SEEDCORE_PG_DSN=dsn, SEEDCORE_HTTP_PORT=http)
    assert done.returncode == 2
    assert f"SEEDCORE_PG_DSN=postgresql://me:***@127.0.0.1:{port}/work" in done.stderr
    assert "hunter" not in done.stderr
    assert done.stderr.count("\n") == 1


def test_commands_that_need_no_ray_do_not_import_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["seedcore", "config", "check"])
    before = set(sys.modules)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert not {name for name in set(sys.modules) - before if name.split(".")[0] in ("ray", "sqlalchemy", "asyncpg")}
