"""`python -m bootstraps.bootstrap_entry` where it cannot succeed; the success is in tests/e2e."""

import os
import subprocess
import sys

import pytest

from seedcore.settings import Settings


def run(**environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("SEEDCORE_", "RAY_", "BOOTSTRAP_"))}
    return subprocess.run(
        [sys.executable, "-m", "bootstraps.bootstrap_entry"],
        env={**inherited, "RAY_AUTH_MODE": "disabled", **environment},
        capture_output=True,
        text=True,
        timeout=90,
    )


def test_an_unknown_mode_ends_with_2_and_the_allowed_values(tmp_path):
    done = run(BOOTSTRAP_MODE="everything", SEEDCORE_DATA_DIR=str(tmp_path))
    assert done.returncode == 2
    assert "BOOTSTRAP_MODE" in done.stderr
    assert "everything" in done.stderr
    assert all(mode in done.stderr for mode in ("all", "organism", "dispatchers"))
    assert not list(tmp_path.iterdir())


@pytest.mark.integration
def test_a_database_that_refuses_ends_with_1_and_hides_the_password(tmp_path):
    dsn = "postgresql://someone:hunter2@127.0.0.1:1/seedcore"
    done = run(SEEDCORE_PG_DSN=dsn, SEEDCORE_DATA_DIR=str(tmp_path))
    assert done.returncode == 1
    assert "SEEDCORE_PG_DSN" in done.stderr
    assert "hunter2" not in done.stderr + done.stdout


@pytest.mark.integration
def test_an_address_without_a_ray_ends_with_1_after_the_migration(pg_settings: Settings, tmp_path):
    assert pg_settings.pg_dsn is not None
    done = run(
        SEEDCORE_PG_DSN=pg_settings.pg_dsn.get_secret_value(),
        SEEDCORE_DATA_DIR=str(tmp_path),
        RAY_ADDRESS="127.0.0.1:1",
        SEEDCORE_RAY_CONNECT_TIMEOUT_S="2",
    )
    assert done.returncode == 1
    assert "127.0.0.1:1" in done.stderr
    assert "schema is up to date" in done.stderr
