"""The type of the routing table: which organ runs which skill, and which agents live on which hosts.

The Organism builds it, `GET /organism/fleet` carries it as JSON, and the Coordinator decides with it.
"""

from typing import Literal, NotRequired, TypedDict, final


class OrganColumns(TypedDict):
    """One organ by columns; empty columns when none of its hosts takes tasks.

    Attributes:
        hosts: names of the living hosts that take tasks.
        nodes: the node of each host; None where it is not known. The previous release does not send it.
        agents: ids of the agents.
        host: for each agent the index of its host in `hosts`.
        scouts: indices in `agents` of those that are scouts.
        archived: indices in `agents` of those that are archived; all others are employed.
    """

    hosts: list[str]
    nodes: NotRequired[list[str | None]]
    agents: list[str]
    host: list[int]
    scouts: list[int]
    archived: list[int]


@final
class RoutingTable(TypedDict):
    """The whole table.

    Attributes:
        epoch: changes whenever the content does.
        skills: the organ that runs each skill.
        timeouts: seconds that a skill declares for itself.
        approvals: skills whose tasks a person must approve, and how long these wait (seconds; None: the default). The
            previous release does not send it.
        organs: the columns of each organ.
    """

    epoch: int
    skills: dict[str, str]
    timeouts: dict[str, float]
    approvals: NotRequired[dict[str, float | None]]
    organs: dict[str, OrganColumns]


@final
class UnchangedRoutingTable(TypedDict):
    """The answer to a caller whose table is still that of `epoch`."""

    epoch: int
    unchanged: Literal[True]


RoutingTableAnswer = RoutingTable | UnchangedRoutingTable
