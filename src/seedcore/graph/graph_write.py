"""What is to be written to the graph: nodes, edges and removals, as plain rows. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field

ENTITY = "Entity"
"""The label that every node has besides its own: one constraint on it makes ids unique."""

LABELS = (
    "Agent",
    "Organ",
    "Skill",
    "Model",
    "ModelVersion",
    "Plan",
    "DeadLetter",
    "Incident",
    "Fact",
    "Thing",
    "Stream",
    "Mark",
)
EDGES = (
    "BELONGS_TO",
    "RUNS_IN",
    "TAKES",
    "ENDED",
    "USES",
    "PART_OF",
    "DIED_AS",
    "DIED_AT",
    "HAPPENED_ON",
    "ANSWERED_BY",
    "VERSION_OF",
    "CHAMPION_OF",
    "CANDIDATE_OF",
    "CHALLENGED",
    "RETRAINED",
    "ABOUT",
    "SAYS",
    "RELIED_ON",
)
"""Types of edges. They become part of statements, so they are a fixed list."""

Value = str | int | float | bool | None | list[str]
Properties = dict[str, Value]
"""Values of a node or edge by key, of types that every Bolt server stores; None removes one."""


@dataclass(slots=True)
class NodeRow:
    """A node to create or update.

    Attributes:
        id: unique in the whole graph, `KIND:NAME`.
        label: one of LABELS; that of an existing node does not change.
        seq: of the change; a newer one that is in the graph already stays. 0: only make sure that the node is there.
        properties: those to set. `tenant` is whose it is; a node without one belongs to all.
    """

    id: str
    label: str
    seq: int
    properties: Properties = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EdgeRow:
    """An edge to create or update.

    Attributes:
        type: one of EDGES.
        source, target: ids of nodes.
        key: distinguishes edges of one type between the same two nodes.
        seq: as of a node.
        properties: those to set.
    """

    type: str
    source: str
    target: str
    seq: int
    key: str = ""
    properties: Properties = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Unique among edges of the type."""
        return "\x1f".join((self.source, self.target, self.key))


@dataclass(slots=True)
class GraphWrite:
    """Everything that one transaction writes, in this order: removed nodes, removed edges, nodes, edges.

    Attributes:
        nodes: by id.
        edges: by type and source, then by id.
        gone: ids of nodes to remove with their edges.
        cut: (type, source) whose edges that are not in `edges` and are older than this `seq` go.
    """

    nodes: dict[str, NodeRow] = field(default_factory=dict)
    edges: dict[tuple[str, str], dict[str, EdgeRow]] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    cut: dict[tuple[str, str], int] = field(default_factory=dict)

    def put(self, node: NodeRow) -> None:
        """Add a node, over what was known of it. A stub, of seq 0, changes nothing that is there."""
        known = self.nodes.get(node.id)
        if known is None:
            self.nodes[node.id] = NodeRow(node.id, node.label, node.seq, dict(node.properties))
        elif node.seq:
            known.seq, known.label = node.seq, node.label
            known.properties |= node.properties

    def link(self, edge: EdgeRow) -> None:
        """Add an edge, over what was known of it."""
        self.edges.setdefault((edge.type, edge.source), {})[edge.id] = edge

    def replace_edges(self, type_: str, source: str, seq: int, edges: Iterable[EdgeRow]) -> None:
        """These are all edges of that type that leave the node now."""
        self.edges[type_, source] = {edge.id: edge for edge in edges}
        self.cut[type_, source] = seq

    def remove(self, node_id: str) -> None:
        """Remove a node with its edges."""
        self.nodes.pop(node_id, None)
        self.gone.add(node_id)
