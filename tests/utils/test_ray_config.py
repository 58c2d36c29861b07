"""What the pod roles of the operations guide come to."""

import pytest

from seedcore.errors import RayConnectionError
from seedcore.settings import load_settings
from seedcore.utils import ray_address, ray_utils
from seedcore.utils.ray_address import LocalRay
from seedcore.utils.ray_config import init_ray_with_smart_defaults, smart_defaults

SHARED = {"RAY_HOST": "seedcore-svc-head-svc", "RAY_PORT": "10001", "RAY_NAMESPACE": "seedcore-dev"}
HEAD = LocalRay("10.0.0.1:6379", pid=1, started=1.0, head=True)


@pytest.fixture(autouse=True)
def _no_rays_here(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setattr(ray_address, "find_local_rays", list)
    monkeypatch.setenv("SEEDCORE_DATA_DIR", str(tmp_path_factory.mktemp("data")))
    for name, value in SHARED.items():
        monkeypatch.setenv(name, value)


def test_a_client_pod_uses_the_client_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "ray://seedcore-svc-head-svc:10001")
    defaults = smart_defaults(load_settings())
    assert (defaults.role, defaults.choice.address) == ("client", "ray://seedcore-svc-head-svc:10001")
    assert defaults.namespace == "seedcore-dev"


def test_a_client_pod_without_a_url_derives_the_same_one() -> None:
    assert smart_defaults(load_settings()).choice.address == "ray://seedcore-svc-head-svc:10001"


def test_a_head_pod_uses_the_ray_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_address, "find_local_rays", lambda: [HEAD])
    for address in ("", "auto"):
        monkeypatch.setenv("RAY_ADDRESS", address)
        defaults = smart_defaults(load_settings())
        assert (defaults.role, defaults.choice.address) == ("head", HEAD.address)


def test_a_worker_pod_uses_what_kuberay_wired(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_NODE_TYPE_NAME", "small-group")
    monkeypatch.setenv("RAY_PORT", "6379")
    monkeypatch.setenv("RAY_ADDRESS", "seedcore-svc-head-svc.ns.svc.cluster.local:6379")
    defaults = smart_defaults(load_settings())
    assert defaults.role == "worker"
    assert defaults.choice.address == "seedcore-svc-head-svc.ns.svc.cluster.local:6379"


def test_a_head_pod_with_the_clients_url_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEEDCORE_ROLE", "head")
    monkeypatch.setenv("RAY_ADDRESS", "ray://seedcore-svc-head-svc:10001")
    with pytest.raises(RayConnectionError, match="unset RAY_ADDRESS"):
        init_ray_with_smart_defaults(settings=load_settings())


def test_a_head_whose_ray_does_not_run_is_simply_not_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEEDCORE_ROLE", "head")
    assert init_ray_with_smart_defaults(settings=load_settings()) is False
    assert ray_utils.is_ray_available(settings=load_settings()) is False


def test_a_bad_ray_port_makes_ray_unavailable_but_never_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_PORT", "tcp://10.0.0.1:6379")
    assert ray_utils.is_ray_available(settings=load_settings()) is False
