"""What a worker reports of a stream to the Coordinator's monitors."""

from typing import Annotated, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

Row = Annotated[list[Annotated[float, Field(allow_inf_nan=False)]], Field(min_length=1, max_length=256)]
Places = Annotated[list[Annotated[int, Field(ge=0, lt=2**63)]], Field(max_length=1_000)]


class StreamRows(TypedDict):
    """Features of a stream's tasks and outcomes, as `changepoint.features` makes them, of a sample of `seen` tasks.

    `order` has for each row of `tasks` its place in the stream, by which rows of several workers are merged: the
    database's order of submission; `outcome_order` has when each of `outcomes` was known, in milliseconds since 1970.
    Rows without places, as dispatchers of the previous release send them, are watched as they come.
    """

    domain: NotRequired[Annotated[str, Field(max_length=200)] | None]
    type: Annotated[str, Field(min_length=1, max_length=200)]
    seen: NotRequired[Annotated[int, Field(ge=0)]]
    tasks: NotRequired[Annotated[list[Row], Field(max_length=1_000)]]
    order: NotRequired[Places]
    outcomes: NotRequired[Annotated[list[Row], Field(max_length=1_000)]]
    outcome_order: NotRequired[Places]
