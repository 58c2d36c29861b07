"""The connection layer against real Rays."""

import pytest

from seedcore.settings import load_settings
from seedcore.utils.ray_utils import get_ray_namespace
from tests.support.ray_head import RayHead, free_ports, ray_head
from tests.utils.conftest import TOKEN, Script

pytestmark = pytest.mark.integration


def test_namespace_comes_from_seedcore_ns_then_ray_namespace_then_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert get_ray_namespace(load_settings()) == "seedcore-dev"
    monkeypatch.setenv("RAY_NAMESPACE", "from-ray")
    assert get_ray_namespace(load_settings()) == "from-ray"
    monkeypatch.setenv("SEEDCORE_NS", "from-seedcore")
    assert get_ray_namespace(load_settings()) == "from-seedcore"


def test_without_any_ray_it_returns_false_and_nothing_can_start_one(script: Script) -> None:
    out = script("""
        out["connected"], out["available"] = ensure_ray_initialized(), is_ray_available()
        out["info"], out["ray_imported"] = get_ray_cluster_info(), "ray" in sys.modules
        shutdown_ray()
        import ray
        try:
            ray.get_actor("anything", namespace="seedcore-dev")
        except Exception as error:
            out["lookup"] = str(error)
        out["own"] = own_cluster()
    """)
    assert (out["connected"], out["available"], out["ray_imported"], out["own"]) == (False, False, False, [])
    assert out["info"]["connected"] is False
    assert "not been started" in out["lookup"]


def test_an_api_call_starts_no_cluster_even_when_ray_was_imported_before(script: Script) -> None:
    out = script("""
        import ray
        ensure_ray_initialized()
        try:
            ray.get_actor("anything", namespace="seedcore-dev")
        except Exception as error:
            out["lookup"] = str(error)
        out["own"] = own_cluster()
    """)
    assert "not been started" in out["lookup"]
    assert out["own"] == []


def test_the_only_live_local_ray_is_found_and_a_second_call_changes_nothing(script: Script, head: RayHead) -> None:
    out = script(
        """
        import signal
        stopped = lambda *_: None
        signal.signal(signal.SIGTERM, stopped)
        out["available_before"] = is_ray_available()
        out["first"] = ensure_ray_initialized()
        import ray
        job = ray.get_runtime_context().get_job_id()
        out["again"] = ensure_ray_initialized() and ensure_ray_initialized("auto")
        out["same_job"] = job == ray.get_runtime_context().get_job_id()
        out["namespace"] = ray.get_runtime_context().namespace
        out["info"], out["available"] = get_ray_cluster_info(), is_ray_available()
        out["sigterm_kept"] = signal.getsignal(signal.SIGTERM) is stopped
        out["found_by_ray_too"] = ray_address.find_local_rays()[0].address in ray._private.services.find_gcs_addresses()
        out["is_head"] = ray_address.find_local_rays()[0].head
        shutdown_ray()
        out["after"] = [ray.is_initialized(), str(current_connection())]
        out["named"] = ensure_ray_initialized(None, "other") and ray.get_runtime_context().namespace
        out["own"] = own_cluster()
        """,
        sees=(head,),
    )
    assert out["first"]
    assert out["again"]
    assert out["same_job"]
    assert out["sigterm_kept"]
    assert out["available_before"]
    assert out["available"]
    assert (out["namespace"], out["named"]) == ("seedcore-dev", "other")
    assert out["after"] == [False, "None"]
    assert out["found_by_ray_too"]
    assert out["is_head"]
    assert out["own"] == []
    info = out["info"]
    assert info["connected"]
    assert info["mode"] == "driver"
    assert info["nodes"] == {"alive": 1, "dead": 0}
    assert info["resources"]["CPU"] == 2.0


def test_auto_uses_the_running_head(script: Script, head: RayHead) -> None:
    out = script(
        """
        out["connected"] = ray_config.init_ray_with_smart_defaults()
        out["address"], out["own"] = str(current_connection().endpoint), own_cluster()
        """,
        sees=(head,),
        env={"RAY_ADDRESS": "auto", "SEEDCORE_ROLE": "head", "RAY_PORT": "6379", "RAY_HOST": "no.such.host.invalid"},
    )
    assert out["connected"] is True
    assert out["address"].endswith(f":{head.port}")
    assert out["own"] == []


def test_a_client_connects_to_the_client_server_in_the_namespace(script: Script, head: RayHead) -> None:
    out = script(
        """
        out["connected"] = ensure_ray_initialized()
        import ray
        out["namespace"], out["mode"] = ray.get_runtime_context().namespace, current_connection().mode
        seen = []
        thread = threading.Thread(target=lambda: seen.append(ensure_ray_initialized(argv[0])))
        thread.start(), thread.join()
        out["from_a_thread"] = seen
        out["same_cluster"] = ensure_ray_initialized(argv[1])
        out["elsewhere"] = refused("ray://127.0.0.1:1")
        out["info"] = get_ray_cluster_info()
        shutdown_ray()
        out["after"] = str(current_connection())
        """,
        head.client_url,
        head.address,
        env={"RAY_HOST": "127.0.0.1", "RAY_PORT": str(head.client_port), "SEEDCORE_NS": "of-the-client"},
    )
    assert out["connected"] is True
    assert out["from_a_thread"] == [True]
    assert out["same_cluster"] is True
    assert (out["namespace"], out["mode"]) == ("of-the-client", "client")
    assert "already connected" in out["elsewhere"]
    assert out["info"]["nodes"]["alive"] == 1
    assert out["after"] == "None"


def test_a_client_whose_server_died_notices_and_connects_again(script: Script, head: RayHead) -> None:
    with ray_head() as mortal:
        out = script(
            """
            ensure_ray_initialized(argv[0])
            out["before"] = is_ray_available()
            os.kill(int(argv[1]), 15)
            deadline = time.monotonic() + 30
            while (ray_utils.current_connection() or is_ray_available()) and time.monotonic() < deadline:
                time.sleep(0.1)
            out["info"], out["available"] = get_ray_cluster_info(), is_ray_available()
            out["again"] = ensure_ray_initialized(argv[2]) and str(current_connection().endpoint)
            out["own"] = own_cluster()
            """,
            mortal.client_url,
            str(mortal.process.pid),
            head.client_url,
            env={"RAY_CLIENT_RECONNECT_GRACE_PERIOD": "1"},
        )
    assert (out["before"], out["available"], out["info"]["connected"]) == (True, False, False)
    assert out["again"] == head.client_url
    assert out["own"] == []


def test_actors_tasks_and_replicas_keep_the_connection_they_have(script: Script, head: RayHead) -> None:
    out = script(
        """
        ensure_ray_initialized(argv[0])
        import ray
        from ray import serve

        def look(elsewhere):
            from seedcore.errors import RayConnectionError
            from seedcore.utils import ray_utils
            import ray
            seen = {"connected": ray_utils.ensure_ray_initialized(), "mode": ray_utils.current_connection().mode}
            seen["available"] = ray_utils.is_ray_available()
            try:
                ray_utils.ensure_ray_initialized(elsewhere)
            except RayConnectionError as error:
                seen["elsewhere"] = error.detail
            ray_utils.shutdown_ray()
            seen["still_connected"] = ray.is_initialized()
            return seen

        @ray.remote(num_cpus=0)
        class Actor:
            def look(self, elsewhere):
                return look(elsewhere)

        @serve.deployment(ray_actor_options={"num_cpus": 0})
        class Replica:
            def __call__(self, elsewhere):
                return look(elsewhere)

        task = ray.remote(num_cpus=0)(look).remote("127.0.0.1:1")
        actor = Actor.remote()
        out["seen"] = ray.get([task, actor.look.remote("127.0.0.1:1"), actor.look.remote("ray://127.0.0.1:1")])
        serve.start(proxy_location="Disabled")
        replica = serve.run(Replica.bind(), route_prefix=None)
        out["seen"].append(replica.remote("127.0.0.1:1").result(timeout_s=30))
        serve.shutdown()
        """,
        head.address,
        sees=(head,),
    )
    assert len(out["seen"]) == 4
    for seen in out["seen"]:
        assert seen["connected"]
        assert seen["available"]
        assert seen["still_connected"]
        assert seen["mode"] == "worker"
        assert "call it without an address" in seen["elsewhere"]


def test_two_threads_make_one_connection(script: Script, head: RayHead) -> None:
    out = script(
        """
        import ray
        calls, init = [], ray.init
        def counted(*args, **kwargs):
            calls.append(args)
            return init(*args, **kwargs)
        ray.init = counted
        barrier, results = threading.Barrier(2), []
        def connect():
            barrier.wait()
            results.append(ensure_ray_initialized(argv[0]))
        threads = [threading.Thread(target=connect) for _ in range(2)]
        [t.start() for t in threads], [t.join() for t in threads]
        out["results"], out["inits"] = results, len(calls)
        """,
        head.address,
        sees=(head,),
    )
    assert out == {"results": [True, True], "inits": 1, "log": out["log"]}


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_where_nothing_listens_the_error_comes_in_time_and_no_cluster_is_made(script: Script, scheme: str) -> None:
    address = f"{scheme}127.0.0.1:{free_ports(1)[0]}"
    out = script(
        """
        refused(argv[0])
        out["own"], out["available"] = own_cluster(), is_ray_available()
        """,
        address,
        env={"SEEDCORE_RAY_CONNECT_TIMEOUT_S": "2", "RAY_ADDRESS": address},
    )
    assert f"Cannot connect to the Ray at {address} (named by argument) within 2 s: nothing answers" in out["detail"]
    assert "correct the address" in out["detail"]
    assert out["seconds"] < 4  # two seconds, and the import of Ray
    assert (out["own"], out["available"]) == ([], False)


def test_the_wrong_port_is_told_apart_at_once(script: Script, head: RayHead) -> None:
    body = """
        refused(argv[0])
        out["own"] = own_cluster()
    """
    for address in (f"ray://{head.address}", head.client_url.removeprefix("ray://")):
        out = script(body, address, sees=(head,))
        assert "something else" in out["detail"]
        assert "10001" in out["detail"]
        assert out["seconds"] < 5
        assert out["own"] == []


def test_a_gcs_without_a_node_on_this_host_is_refused_with_the_client_address(script: Script, head: RayHead) -> None:
    out = script("refused(argv[0])", head.address, env={"SEEDCORE_RAY_CONNECT_TIMEOUT_S": "1"})
    assert "no node of that cluster runs on this host; use ray://HOST:10001" in out["detail"]


def test_two_live_heads_and_no_choice_is_an_error_that_lists_them(
    script: Script, heads: tuple[RayHead, RayHead]
) -> None:
    out = script(
        """
        refused()
        out["auto"], out["available"], out["own"] = refused("auto"), is_ray_available(), own_cluster()
        """,
        sees=heads,
    )
    for detail in (out["detail"], out["auto"]):
        assert all(f":{head.port}" in detail for head in heads)
        assert "set RAY_ADDRESS" in detail
    assert (out["available"], out["own"]) == (False, [])


def test_the_recorded_address_decides_between_two_and_a_stale_one_does_not(
    script: Script, heads: tuple[RayHead, RayHead]
) -> None:
    first = script(
        """
        ensure_ray_initialized(argv[0])
        from seedcore.settings import get_settings
        record_ray_address(get_settings())
        """,
        heads[0].address,
        sees=heads,
    )
    assert "ignored" not in first["log"]
    second = script(
        """
        out["connected"], out["address"] = ensure_ray_initialized(), str(current_connection().endpoint)
        out["elsewhere"] = refused(argv[0])
        shutdown_ray()
        from pathlib import Path
        from seedcore.settings import get_settings
        file = get_settings().data_dir / "run" / "ray_address"
        entry = json.loads(file.read_text())
        file.write_text(json.dumps({**entry, "started": entry["started"] - 3600}))
        out["stale"] = refused()
        """,
        heads[1].address,
        sees=heads,
    )
    assert second["connected"]
    assert second["address"].endswith(f":{heads[0].port}")
    assert "shutdown_ray() first" in second["elsewhere"]
    assert "2 Rays run on this host" in second["stale"]
    assert "recorded Ray address ignored" in second["log"]


def test_a_saved_token_opens_a_ray_of_this_host_and_is_not_sent_elsewhere(
    script: Script, locked_head: RayHead, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = tmp_path_factory.mktemp("home")
    (home / ".ray").mkdir()
    (home / ".ray" / "auth_token").write_text(TOKEN)
    body = """
        refused(argv[0])
        out["info"] = get_ray_cluster_info()
    """
    env = {"HOME": str(home), "SEEDCORE_RAY_CONNECT_TIMEOUT_S": "5"}
    by_gcs = script(body, locked_head.address, sees=(locked_head,), env=env, unset=("RAY_AUTH_MODE",))
    assert by_gcs["connected"]
    assert by_gcs["info"]["connected"]
    by_url = script(body, locked_head.client_url, sees=(locked_head,), env=env, unset=("RAY_AUTH_MODE",))
    opted_out = script(body, locked_head.address, sees=(locked_head,), env=env)
    for out in (by_url, opted_out):
        assert "set RAY_AUTH_MODE=token" in out["detail"]
        assert out["seconds"] < 5
        assert TOKEN not in out["detail"]


def test_a_client_gives_replicas_time_to_answer_and_a_driver_keeps_serve_s_own(script: Script, head: RayHead) -> None:
    """Given up on after 0.1 s, they are answered all the same, and Ray's client logs a traceback for each."""
    body = """
        ensure_ray_initialized(argv[0])
        from ray.serve._private.request_router.request_router import RequestRouter
        out["deadline_s"] = RequestRouter.queue_len_response_deadline_s
    """
    assert script(body, head.client_url)["deadline_s"] == 10
    assert script(body, head.address, sees=(head,))["deadline_s"] == 0.1
