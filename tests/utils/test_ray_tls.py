"""A Ray whose processes speak TLS: a task runs, and who has no certificate is not let in."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.certificates import Authority
from tests.support.ray_head import RayHead, isolated_env, ray_head

pytestmark = pytest.mark.integration

TASK = """
import json, os, sys, ray
ray.init(sys.argv[1], namespace="tls", log_to_driver=False, logging_level="ERROR")

@ray.remote
def twice(value):
    return 2 * value

print(json.dumps({"answer": ray.get(twice.remote(21), timeout=45)}))
"""
PROBE = """
import json, sys
from seedcore.utils.ray_address import parse_address
from seedcore.utils.ray_probe import probe
result = probe(parse_address(sys.argv[1]), 5.0)
print(json.dumps({"status": result.status.name, "detail": result.detail}))
"""


@pytest.fixture(scope="module")
def authority(starts_server: None, tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certs"))


def tls(authority: Authority) -> dict[str, str]:
    return {
        "RAY_USE_TLS": "1",
        "RAY_TLS_SERVER_CERT": str(authority.cert),
        "RAY_TLS_SERVER_KEY": str(authority.key),
        "RAY_TLS_CA_CERT": str(authority.ca),
    }


@pytest.fixture(scope="module")
def head(authority: Authority) -> Iterator[RayHead]:
    with ray_head(env=tls(authority) | {"RAY_AUTH_MODE": "disabled"}) as running:
        yield running


def run(script: str, address: str, **variables: str) -> dict[str, str]:
    done = subprocess.run(
        [sys.executable, "-c", script, address],
        env=isolated_env(variables),
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_driver_with_the_certificate_runs_a_task(head: RayHead, authority: Authority):
    assert run(TASK, head.address, **tls(authority)) == {"answer": 42}


def test_a_client_with_the_certificate_runs_a_task(head: RayHead, authority: Authority):
    assert run(TASK, head.client_url, **tls(authority)) == {"answer": 42}


@pytest.mark.parametrize("where", ["address", "client_url"])
def test_who_speaks_plain_is_refused(head: RayHead, authority: Authority, where: str):
    address = getattr(head, where)
    assert run(PROBE, address, **tls(authority))["status"] == "READY"
    assert run(PROBE, address)["status"] == "UNREACHABLE"


@pytest.mark.parametrize("where", ["address", "client_url"])
def test_a_certificate_of_another_authority_is_refused(head: RayHead, tmp_path: Path, where: str):
    assert run(PROBE, getattr(head, where), **tls(Authority(tmp_path)))["status"] == "UNREACHABLE"
