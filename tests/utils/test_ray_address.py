"""The rules that choose a Ray, without any Ray."""

from typing import Any

import psutil
import pytest

from seedcore.errors import RayConnectionError, SettingsError
from seedcore.settings import Settings, load_settings
from seedcore.utils.ray_address import (
    Endpoint,
    LocalRay,
    Resolution,
    Role,
    detect_role,
    find_local_rays,
    parse_address,
    resolve_address,
    same_endpoint,
)

HEAD = LocalRay("10.0.0.1:6379", pid=1, started=1.0, head=True)
NODE = LocalRay("10.9.9.9:6379", pid=2, started=1.0, head=False)


def settings_with(**values: Any) -> Settings:
    return load_settings(**values)


def resolve(
    argument: str | None = None, *, role: Role = "client", recorded: str | None = None, live: Any = (), **values: Any
) -> Resolution:
    return resolve_address(argument, settings_with(**values), role=role, recorded=recorded, live=live)


def test_the_order_is_argument_ray_address_recorded_file_only_local_ray() -> None:
    everything: dict[str, Any] = {"recorded": "10.0.0.3:3", "live": [HEAD], "ray_address": "10.0.0.2:2"}
    assert resolve("10.0.0.9:9", **everything).source == "argument"
    assert resolve(**everything).address == "10.0.0.2:2"
    del everything["ray_address"]
    assert resolve(**everything).address == "10.0.0.3:3"
    del everything["recorded"]
    assert resolve(**everything) == Resolution(HEAD.address, "only local Ray", "the only Ray that runs on this host")


def test_no_ray_at_all_resolves_to_nothing_and_says_how_to_start_one() -> None:
    chosen = resolve()
    assert (chosen.address, chosen.source) == (None, "none")
    assert "ray start --head" in chosen.reason


def test_several_local_rays_and_no_choice_is_an_error_that_lists_them() -> None:
    with pytest.raises(RayConnectionError, match=r"10\.0\.0\.1:6379, 10\.9\.9\.9:6379.*RAY_ADDRESS"):
        resolve(live=[NODE, HEAD])


def test_several_nodes_of_one_cluster_are_one_ray() -> None:
    assert resolve(live=[HEAD, LocalRay(HEAD.address, 3, 1.0, head=False)]).address == HEAD.address


@pytest.mark.parametrize("where", ["argument", "RAY_ADDRESS"])
def test_auto_means_this_host_and_must_find_a_ray(where: str) -> None:
    given: dict[str, Any] = {"argument": "auto"} if where == "argument" else {"ray_address": "auto"}
    assert resolve(**given, role="head", live=[HEAD]).address == HEAD.address
    assert resolve(**given, role="head", recorded="10.0.0.3:3", live=[HEAD, NODE]).address == "10.0.0.3:3"
    with pytest.raises(RayConnectionError, match=f"{where} is `auto`, but no Ray runs on this host"):
        resolve(**given, role="head")


@pytest.mark.parametrize(
    "address", ["local", "http://h:1", "host", "ray://host", "ray://u@h:1", "h:70000", "h:x", "ray://h:1/p"]
)
def test_what_is_not_an_address_is_refused(address: str) -> None:
    with pytest.raises(RayConnectionError, match=r"not allowed|allowed are"):
        resolve(address)


@pytest.mark.parametrize("address", ["ray://10.0.0.1:10001", "10.0.0.1:6380", "[::1]:6379", "ray://[fe80::1]:10001"])
def test_an_address_survives_reading_and_writing(address: str) -> None:
    assert str(parse_address(address)) == address


@pytest.mark.parametrize("role", ["head", "worker"])
def test_a_client_url_is_refused_in_the_cluster(role: Role) -> None:
    with pytest.raises(RayConnectionError, match=f"this is a {role}: unset RAY_ADDRESS"):
        resolve(role=role, ray_address="ray://head:10001")


@pytest.mark.parametrize("role", ["head", "worker"])
def test_what_kuberay_wires_is_used_in_its_pods(role: Role) -> None:
    assert resolve(role=role, ray_address="head-svc:6379", ray_host="x", ray_port="6379").address == "head-svc:6379"


@pytest.mark.parametrize("role", ["head", "worker"])
def test_ray_host_and_ray_port_mean_nothing_in_the_cluster(role: Role) -> None:
    injected: dict[str, Any] = {"ray_host": "head-svc", "ray_port": "6379"}
    assert resolve(role=role, live=[NODE], **injected).address == NODE.address
    assert resolve(role=role, **injected).address is None


def test_a_client_derives_its_address_from_ray_host_and_ray_port() -> None:
    chosen = resolve(ray_host="head-svc", recorded="10.0.0.3:3", live=[HEAD])
    assert (chosen.address, chosen.source) == ("ray://head-svc:10001", "RAY_HOST and RAY_PORT")
    assert resolve(ray_host="head-svc", ray_port="20001").address == "ray://head-svc:20001"


@pytest.mark.parametrize("port", ["tcp://10.0.0.1:6379", "0", "70000", "ten"])
def test_a_ray_port_that_is_no_port_is_named(port: str) -> None:
    with pytest.raises(SettingsError, match=r"RAY_PORT=.*1 to 65535"):
        resolve(ray_host="head-svc", ray_port=port)
    assert resolve(role="worker", ray_host="head-svc", ray_port=port, live=[NODE]).address == NODE.address


@pytest.mark.parametrize(
    ("values", "live", "role"),
    [
        ({"role": "worker"}, [HEAD], "worker"),
        ({"ray_node_group": "headgroup"}, [], "head"),
        ({"ray_node_group": "small-group", "ray_address": "head-svc:6379"}, [], "worker"),
        ({"ray_address": "ray://head:10001"}, [HEAD], "client"),
        ({}, [HEAD], "head"),
        ({}, [NODE], "worker"),
        ({}, [], "client"),
        ({"role": "client", "ray_node_group": "headgroup"}, [HEAD], "client"),
    ],
)
def test_the_role_is_what_is_said_then_what_kuberay_says_then_what_runs_here(
    values: dict[str, Any], live: list[LocalRay], role: Role
) -> None:
    assert detect_role(settings_with(**values), live) == role


def test_every_name_of_this_host_is_the_same_endpoint() -> None:
    own = [a.address for items in psutil.net_if_addrs().values() for a in items if a.family.name == "AF_INET"]
    loopback = Endpoint("localhost", 6379, client=False)
    assert all(same_endpoint(loopback, Endpoint(host, 6379, client=False)) for host in own)
    assert not same_endpoint(loopback, Endpoint("localhost", 6380, client=False))
    assert not same_endpoint(loopback, Endpoint("localhost", 6379, client=True))
    assert not same_endpoint(loopback, Endpoint("203.0.113.7", 6379, client=False))
    assert not same_endpoint(loopback, Endpoint("no.such.host.invalid", 6379, client=False))
    assert not same_endpoint(loopback, Endpoint("no..such..host", 6379, client=False))


class Process:
    """A line of the process table."""

    def __init__(self, name: str, *arguments: str, uid: int = 1000, error: Exception | None = None) -> None:
        self.info, self.pid, self.error = {"name": name}, 7, error
        self.arguments, self.uid = arguments, uid

    def cmdline(self) -> list[str]:
        if self.error:
            raise self.error
        return ["/opt/ray/raylet", *self.arguments]

    def uids(self) -> Any:
        return type("Ids", (), {"real": self.uid})

    def create_time(self) -> float:
        return 1.5


def test_raylets_of_this_user_are_found_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    table = [
        Process("raylet", "--worker=python --gcs-address=1.1.1.1:1", "--gcs-address=10.0.0.1:6379", "--head"),
        Process("raylet", "--gcs-address=10.0.0.2:6379", uid=2000),
        Process("raylet"),
        Process("raylet", "--gcs-address=10.0.0.3:6379", error=psutil.NoSuchProcess(7)),
        Process("raylet", "--gcs-address=10.0.0.4:6379", error=psutil.AccessDenied(7)),
        Process("gcs_server", "--gcs-address=10.0.0.5:6379"),
    ]
    monkeypatch.setattr(psutil, "process_iter", lambda _attributes: iter(table))
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert find_local_rays() == [LocalRay("10.0.0.1:6379", 7, 1.5, head=True)]
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert [ray.address for ray in find_local_rays()] == ["10.0.0.1:6379", "10.0.0.2:6379"]
