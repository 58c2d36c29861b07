"""The type of the routing table: which organ runs which skill, and which agents live on which hosts.

The Organism builds it, `GET /organism/fleet` carries it as JSON, the Coordinator publishes it to every worker, and
workers decide with it.
"""

from typing import Literal, NotRequired, TypedDict, final


class OrganColumns(TypedDict):
    """One organ by columns; empty columns when none of its hosts takes tasks.

    Attributes:
        hosts: names of the living hosts that take tasks; of an organ without hosts of its own, the workers.
        nodes: the node of each host; None where it is not known. The previous release does not send it.
        agents: ids of the agents.
        host: for each agent the index of its host in `hosts`.
        scouts: indices in `agents` of those that are scouts.
        archived: indices in `agents` of those that are archived; all others are employed.
        limits: the organ's own `HostLimits`, of an organ whose agents live in workers.
        roles: the weight of each role that the organ declares, of an organ whose agents live in workers.
    """

    hosts: list[str]
    nodes: NotRequired[list[str | None]]
    agents: list[str]
    host: list[int]
    scouts: list[int]
    archived: list[int]
    limits: NotRequired[dict[str, int]]
    roles: NotRequired[dict[str, float]]


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
        workers: names of the living workers on the queue `default` that take tasks, in order. The previous release does
            not send it.
    """

    epoch: int
    skills: dict[str, str]
    timeouts: dict[str, float]
    approvals: NotRequired[dict[str, float | None]]
    organs: dict[str, OrganColumns]
    workers: NotRequired[list[str]]


@final
class UnchangedRoutingTable(TypedDict):
    """The answer to a caller whose table is still that of `epoch`."""

    epoch: int
    unchanged: Literal[True]


RoutingTableAnswer = RoutingTable | UnchangedRoutingTable
