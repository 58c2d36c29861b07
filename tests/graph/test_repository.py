import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from seedcore.errors import ConflictError, InvalidInputError, NotConfiguredError, NotFoundError, UnavailableError
from seedcore.graph.repository import GraphStore, Node
from seedcore.settings import Settings, load_settings
from seedcore.stores.embedded import embedded_bolt

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def bolt_settings() -> Iterator[Settings]:
    """One embedded Bolt server for the module; tests use ids of their own."""
    folder = Path(tempfile.mkdtemp(prefix="scg"))
    settings = load_settings(data_dir=folder / "data")
    server = embedded_bolt(settings)
    server.acquire()
    yield settings
    os.kill(server.status()["supervisor_pid"], signal.SIGTERM)
    server.release()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def graph(bolt_settings: Settings) -> AsyncIterator[GraphStore]:
    store = GraphStore(bolt_settings)
    yield store
    await store.close()


async def test_merging_a_node_twice_makes_one_and_keeps_other_properties(graph: GraphStore) -> None:
    await graph.merge_node("Person", "m1", {"name": "Ada", "tags": ["a", "b"], "age": 36})
    node = await graph.merge_node("Person", "m1", {"name": "Ada L.", "age": None})
    assert node == Node("m1", "Person", {"name": "Ada L.", "tags": ["a", "b"]})
    assert await graph.get_node("m1") == node


async def test_the_same_id_with_another_label_is_a_conflict(graph: GraphStore) -> None:
    await graph.merge_node("Person", "c1")
    with pytest.raises(ConflictError, match="is a Person"):
        await graph.merge_node("City", "c1")


async def test_merging_an_edge_twice_makes_one(graph: GraphStore) -> None:
    for name in ("e1", "e2"):
        await graph.merge_node("Person", name)
    await graph.merge_edge("e1", "KNOWS", "e2", {"since": 1833})
    await graph.merge_edge("e1", "KNOWS", "e2", {"since": 1834})
    assert [n.node.id for n in await graph.neighbours("e1")] == ["e2"]
    rows = await graph._run("MATCH ({id: 'e1'})-[r:KNOWS]->() RETURN r.since AS since")
    assert rows == [{"since": 1834}]


async def test_an_edge_needs_both_nodes(graph: GraphStore) -> None:
    await graph.merge_node("Person", "n1")
    with pytest.raises(NotFoundError, match="missing"):
        await graph.merge_edge("n1", "KNOWS", "missing")


async def test_neighbours_come_nearest_first_in_either_direction(graph: GraphStore) -> None:
    chain = [f"d{i}" for i in range(5)]
    for name in chain:
        await graph.merge_node("Step", name)
    await graph.merge_edge("d0", "NEXT", "d1")
    await graph.merge_edge("d2", "NEXT", "d1")
    await graph.merge_edge("d2", "NEXT", "d3")
    await graph.merge_edge("d3", "NEXT", "d4")
    await graph.merge_edge("d3", "NEXT", "d0")
    near = [(n.node.id, n.depth) for n in await graph.neighbours("d0", depth=2)]
    assert near == [("d1", 1), ("d3", 1), ("d2", 2), ("d4", 2)]
    assert [n.node.id for n in await graph.neighbours("d0", depth=3, limit=3)] == ["d1", "d3", "d2"]


async def test_neighbours_of_an_unknown_node_are_not_found(graph: GraphStore) -> None:
    with pytest.raises(NotFoundError):
        await graph.neighbours("nobody")


async def test_a_dense_graph_is_walked_without_counting_paths(graph: GraphStore) -> None:
    names = [f"k{i}" for i in range(20)]
    await asyncio.gather(*(graph.merge_node("Dense", name) for name in names))
    for i, source in enumerate(names):
        for target in names[i + 1 :]:
            await graph.merge_edge(source, "LINK", target)
    async with asyncio.timeout(10):
        assert len(await graph.neighbours("k0", depth=3, limit=100)) == 19


@pytest.mark.parametrize("bad", ["", "1st", "a b", "A`) DETACH DELETE n //", "ä", "x" * 65, "Entity"])
async def test_labels_that_do_not_fit_the_pattern_are_refused(graph: GraphStore, bad: str) -> None:
    with pytest.raises(InvalidInputError, match="label"):
        await graph.merge_node(bad, "x1")
    assert await graph.get_node("x1") is None


async def test_values_are_data_whatever_they_contain(graph: GraphStore) -> None:
    evil = "'}) DETACH DELETE n //"
    await graph.merge_node("Person", evil, {"name": evil})
    node = await graph.get_node(evil)
    assert node is not None
    assert node.properties == {"name": evil}


@pytest.mark.parametrize(
    ("properties", "field"),
    [
        ({"id": "other"}, "properties.id"),
        ({"a": {"b": 1}}, "properties.a"),
        ({"a": [[1]]}, "properties.a"),
        ({"a": [1, "one"]}, "properties.a"),
        ({"a": 2**63}, "properties.a"),
        ({"a": "\ud800"}, "properties"),
        ({"a b": 1}, "properties.a b"),
        ({"a": "x" * 70_000}, "properties"),
    ],
)
async def test_properties_that_cannot_be_stored_are_refused(
    graph: GraphStore, properties: dict[str, object], field: str
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        await graph.merge_node("Person", "p1", properties)
    assert caught.value.errors[0].field == field


@pytest.mark.parametrize(
    ("depth", "limit", "field"), [(0, 1, "depth"), (4, 1, "depth"), (1, 0, "limit"), (1, 1001, "limit")]
)
async def test_unbounded_walks_are_refused(graph: GraphStore, depth: int, limit: int, field: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        await graph.neighbours("any", depth=depth, limit=limit)
    assert caught.value.errors[0].field == field


@pytest.mark.parametrize("round_", range(5))
async def test_many_writers_of_the_same_things_make_one_of_each(bolt_settings: Settings, round_: int) -> None:
    stores = [GraphStore(bolt_settings) for _ in range(4)]
    # Label and type are new in each round, so that their first use is raced for, too.
    label, type_, prefix = f"Shared{round_}", f"TO{round_}", f"w{round_}-"

    async def write(store: GraphStore) -> None:
        await asyncio.gather(*(store.merge_node(label, f"{prefix}{i}", {"i": i}) for i in range(5)))
        await asyncio.gather(*(store.merge_edge(f"{prefix}0", type_, f"{prefix}{i}", {"i": i}) for i in range(1, 5)))

    try:
        await asyncio.gather(*(write(store) for store in stores))
        rows = await stores[0]._run(
            f"MATCH (n:{label}) OPTIONAL MATCH (n)-[r:{type_}]->() RETURN n.id AS id, count(r) AS edges"
        )
        expected = [(f"{prefix}0", 4), *((f"{prefix}{i}", 0) for i in range(1, 5))]
        assert sorted((row["id"], row["edges"]) for row in rows) == expected
    finally:
        for store in stores:
            await store.close()


async def test_it_works_again_after_the_server_was_killed(graph: GraphStore, bolt_settings: Settings) -> None:
    await graph.merge_node("Person", "r1", {"name": "kept"})
    os.kill(embedded_bolt(bolt_settings).status()["pid"], signal.SIGKILL)
    node = await graph.get_node("r1")
    assert node == Node("r1", "Person", {"name": "kept"})


async def test_health_does_not_start_a_server(tmp_path: Path) -> None:
    store = GraphStore(load_settings(data_dir=tmp_path / "data"))
    assert (await store.ready())["ready"] is True
    assert not (tmp_path / "data").exists()


async def test_an_external_server_is_used_with_its_credentials(graph: GraphStore, bolt_settings: Settings) -> None:
    uri = embedded_bolt(bolt_settings).acquire()
    refused = GraphStore(load_settings(neo4j_uri=uri, neo4j_user="root", neo4j_password="wrong-password"))
    with pytest.raises(NotConfiguredError, match="NEO4J_PASSWORD"):
        await refused.get_node("a")
    await refused.close()


async def test_an_address_where_nothing_listens_is_unavailable_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seedcore.stores.neo4j.RETRY_S", 1.0)
    store = GraphStore(load_settings(neo4j_uri="bolt://127.0.0.1:1"))
    async with asyncio.timeout(10):
        with pytest.raises(UnavailableError):
            await store.get_node("a")
