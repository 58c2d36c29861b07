"""How bootstrap asks the Organism again, and when it gives up at once."""

import time

import pytest

from bootstraps.bootstrap_organism import call_organism
from seedcore.errors import (
    InvalidInputError,
    NotFoundError,
    SeedCoreError,
    UnavailableError,
    from_problem,
)


class Answers:
    """A call that fails with each of `errors`, then answers 1; it counts how often it was made."""

    def __init__(self, *errors: SeedCoreError) -> None:
        self.left, self.calls = list(errors), 0

    async def __call__(self) -> int:
        self.calls += 1
        if self.left:
            raise self.left.pop(0)
        return 1


async def test_it_asks_again_until_the_organism_is_deployed_and_ready() -> None:
    call = Answers(NotFoundError("no such path"), UnavailableError("not ready"), SeedCoreError("it failed"))
    assert await call_organism(call, time.monotonic() + 30) == 1
    assert call.calls == 4


@pytest.mark.parametrize(
    "refusal",
    [
        from_problem({"code": "bad_setting", "status": 500, "detail": "SEEDCORE_ORGANS_PATH=a.yaml is empty."}),
        InvalidInputError("an unknown skill"),
    ],
    ids=["wrong organs file", "refused"],
)
async def test_what_no_further_attempt_can_change_ends_it_at_once(refusal: SeedCoreError) -> None:
    call = Answers(refusal)
    with pytest.raises(type(refusal), match=refusal.detail):
        await call_organism(call, time.monotonic() + 30)
    assert call.calls == 1
