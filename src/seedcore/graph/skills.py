"""Skills of the graph; their tasks go to the queue `graph`, whose workers run them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from seedcore.errors import InvalidInputError, NotFoundError, SeedCoreError, SkillError, TooLargeError, UnavailableError
from seedcore.skills.skill_decorator import SkillContext, skill

if TYPE_CHECKING:
    from seedcore.graph.graph_client import GraphClient
    from seedcore.graph.graph_reader import Neighbourhood
    from seedcore.memory.long_term.store import MemoryStore

Name = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f]*$")]
Limit = Annotated[int, Field(ge=1, le=500)]
Depth = Annotated[int, Field(ge=1, le=3)]
QueryName = Literal["blast_radius", "lineage", "who_else", "relied_on", "agent_record", "neighbours", "similar"]

ABOUT: Mapping[str, str] = {
    "blast_radius": "skill",
    "lineage": "model",
    "who_else": "incident",
    "relied_on": "fact",
    "agent_record": "agent",
    "neighbours": "node",
    "similar": "node",
}
"""The parameter that each query needs."""

_NOT_RETRYABLE = (InvalidInputError, NotFoundError, TooLargeError)


class _Params(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SyncGraph(_Params):
    """Bring the graph up to date."""

    full: bool = Field(False, description="read again everything that the tables hold")


class SyncedGraph(BaseModel):
    """How far the graph is; `pending` changes came meanwhile, and the oldest waits for `lag_s` seconds."""

    synced_seq: int
    pending: int
    lag_s: float


class EmbedGraph(_Params):
    """Compute the vectors of all nodes."""

    dimension: int = Field(128, ge=16, le=1024)


class EmbeddedGraph(BaseModel):
    """How many nodes have vectors now, and how many edges they were computed from."""

    nodes: int
    edges: int
    dimension: int
    model: str


class GraphQuery(_Params):
    """A question of the catalogue, and what it is about."""

    query: QueryName
    skill: Name | None = Field(None, validate_default=True, description="for `blast_radius`")
    model: Name | None = Field(None, validate_default=True, description="for `lineage`")
    incident: Name | None = Field(None, validate_default=True, description="for `who_else`: its id")
    fact: Name | None = Field(None, validate_default=True, description="for `relied_on`: its id")
    agent: Name | None = Field(None, validate_default=True, description="for `agent_record`")
    node: Name | None = Field(
        None, validate_default=True, description="for `neighbours` and `similar`: its id, such as `skill:echo`"
    )
    depth: Depth = Field(1, description="for `neighbours`: how many edges away")
    limit: Limit = Field(50, description="rows of each part of the answer")

    @field_validator("skill", "model", "incident", "fact", "agent", "node")
    @classmethod
    def _fits_query(cls, value: str | None, info: ValidationInfo) -> str | None:
        query = info.data.get("query")
        if query is not None and (ABOUT[query] == info.field_name) != (value is not None):
            raise ValueError(f"{query} needs it" if value is None else f"{query} does not take it")
        return value

    @property
    def about(self) -> str:
        """What it is about."""
        found: str = getattr(self, ABOUT[self.query])
        return found


class GraphAnswer(BaseModel):
    """The answer: rows by part. `cut`: parts that have more rows than `limit`. `lag_s`: how far the graph is behind."""

    query: str
    found: dict[str, list[dict[str, Any]]]
    cut: list[str]
    lag_s: float


class AskGraph(_Params):
    """What to find: memories that fit the text, and what the graph has around them."""

    query: Annotated[str, Field(min_length=1, max_length=4000)]
    k: int = Field(8, ge=1, le=50, description="memories")
    depth: Depth = Field(2, description="how many edges away from what they come from")
    limit: Limit = Field(50, description="nodes")


class SeedMemory(BaseModel):
    """A memory that fits, and the node that it comes from."""

    id: str
    text: str
    score: float
    source: str
    node: str | None


class ScoredNode(BaseModel):
    """A node near the memories."""

    id: str
    label: str
    depth: int
    score: float
    properties: dict[str, Any]


class GraphContext(BaseModel):
    """What memory and the graph know about a text; `fallback` names what the search had to do without."""

    memories: list[SeedMemory]
    nodes: list[ScoredNode]
    edges: list[dict[str, Any]]
    lag_s: float
    fallback: str | None = None


@skill("graph.sync", organ="graph", queue="graph", slow=True, platform=True, timeout_s=600)
async def graph_sync(params: SyncGraph, context: SkillContext) -> SyncedGraph:
    """Wait until the graph has what PostgreSQL had when the task began; the first task of the graph starts it."""
    from seedcore.graph import outbox

    async with _Graph(context) as graph:
        if params.full:
            async with graph.database.connection() as connection:
                await outbox.ask_refill(connection)
        state = await graph.synced(always=True)
    return SyncedGraph(synced_seq=state.synced_seq, pending=state.pending, lag_s=round(state.lag_s, 3))


@skill("graph.embed", organ="graph", queue="graph", slow=True, platform=True, timeout_s=3600)
async def graph_embed(params: EmbedGraph, context: SkillContext) -> EmbeddedGraph:
    """Give every node a vector of its place in the graph (FastRP)."""
    from seedcore.graph.node_vectors import MODEL, embed_nodes

    async with _Graph(context) as graph:
        await graph.synced()
        nodes, edges = await embed_nodes(graph.store, graph.database, params.dimension, context.report_progress)
    return EmbeddedGraph(nodes=nodes, edges=edges, dimension=params.dimension, model=MODEL)


@skill("graph.query", organ="graph", queue="graph", timeout_s=90)
async def graph_query(params: GraphQuery, context: SkillContext) -> GraphAnswer:
    """Answer a question of the catalogue: what a failing skill reaches, where a model comes from, who else saw this."""
    async with _Graph(context) as graph:
        state = await graph.synced()
        found = await _found(graph, params, context.tenant)
    cut = [part for part, rows in found.items() if len(rows) > params.limit]
    rows = {part: rows[: params.limit] for part, rows in found.items()}
    return GraphAnswer(query=params.query, found=rows, cut=cut, lag_s=round(state.lag_s, 3))


@skill("graph.rag", organ="graph", queue="graph", timeout_s=90)
async def graph_rag(params: AskGraph, context: SkillContext) -> GraphContext:
    """Find memories that fit a text, and what the graph has around what they come from."""
    from seedcore.graph.graph_reader import node_of_memory

    async with _Graph(context) as graph:
        state = await graph.synced()
        memories = _memories(context)
        recall = await graph.recall(memories, params.query, context.tenant, params.k, params.depth, params.limit)
    seeds = [
        SeedMemory(
            id=str(memory.id),
            text=memory.text,
            score=round(memory.score, 5),
            source=memory.source,
            node=node_of_memory(memory),
        )
        for memory in recall.memories
    ]
    nodes = [
        ScoredNode(
            id=n.id, label=n.label, depth=n.depth, score=round(recall.scores[n.id], 4), properties={**n.properties}
        )
        for n in recall.around.nodes
    ]
    nodes.sort(key=lambda node: (-node.score, node.depth, node.id))
    return GraphContext(
        memories=seeds,
        nodes=nodes,
        edges=recall.around.edges,
        lag_s=round(state.lag_s, 3),
        fallback=recall.fallback,
    )


def _memories(context: SkillContext) -> "MemoryStore":
    """The memories of this process's skills."""
    from seedcore.memory.long_term.kept_memory import KeptMemory

    assert context.clients is not None
    return context.clients.keep(KeptMemory).store


async def _found(graph: "GraphClient", params: GraphQuery, tenant: str) -> dict[str, list[dict[str, Any]]]:
    # One more than wanted, to see whether there are more.
    limit = params.limit + 1
    if params.query == "neighbours":
        return _shown(await graph.reader.neighbours(params.about, tenant, params.depth, limit))
    if params.query == "similar":
        return {"nodes": await graph.reader.similar(params.about, tenant, limit)}
    return await graph.reader.ask(params.query, params.about, tenant, limit)


def _shown(around: "Neighbourhood") -> dict[str, list[dict[str, Any]]]:
    nodes = [{"id": n.id, "label": n.label, "depth": n.depth, **n.properties} for n in around.nodes]
    return {"nodes": nodes, "edges": around.edges}


class _Graph:
    """The graph of this process; turns its errors into those of skills."""

    def __init__(self, context: SkillContext) -> None:
        self._context = context

    async def __aenter__(self) -> "GraphClient":
        from seedcore.graph.graph_client import GraphClient

        if self._context.clients is None:
            raise UnavailableError("This process gives skills no service clients; the graph needs them.")
        return self._context.clients.keep(GraphClient)

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, SeedCoreError) and not isinstance(error, SkillError):
            retryable = error.transient and not isinstance(error, _NOT_RETRYABLE)
            raise SkillError(error.detail, errors=error.errors, retryable=retryable, cause=error.code) from error
