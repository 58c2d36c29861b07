"""Hosts that a forecast calls for: from organs and measured seconds, and unknown where these are."""

from collections.abc import Mapping, Sequence
from typing import Any

from seedcore.errors import UnavailableError
from seedcore.ml.scaling.host_needs import host_needs


class FakeOrganism:
    """Two organs: `render` with hosts of its own of two slots each, and `utility` in workers."""

    error: UnavailableError | None = None

    async def resolve_routes(self, items: Sequence[Mapping[str, object]], /) -> dict[str, Any]:
        homes = {"page": "render", "scan": "render", "echo": "utility"}
        found = [{"organ_id": homes[i["type"]]} if i["type"] in homes else {"error": {}} for i in map(dict, items)]
        return {"items": found, "epoch": 1}

    async def status(self) -> Mapping[str, object]:
        if self.error is not None:
            raise self.error
        common = {"version": 1, "desired_agents": 8, "living_agents": 8, "skills": [], "hosts": []}
        return {
            "organs": {
                "render": common | {"desired_hosts": {"min": 1, "max": 6}, "living_hosts": 2},
                "utility": common | {"desired_hosts": None, "living_hosts": 3},
            }
        }

    async def organs(self) -> list[dict[str, Any]]:
        return [{"id": "render", "spec": {"limits": {"host_concurrency": 2}}}, {"id": "utility", "spec": {}}]


async def test_the_bound_is_shared_out_by_type_and_weighed_by_seconds():
    needs, notes = await host_needs(FakeOrganism(), {"page": 30, "echo": 10}, {"page": 1.0, "echo": 0.1}, 8.0, 100)
    render, utility = needs
    # Six pages a second of a second each, in hosts of two slots that are to be filled to 80 %.
    assert (render.now, render.wanted, render.shared, render.load) == (2, 4, False, 6.0)
    assert (utility.now, utility.wanted, utility.shared) == (3, 1, True)
    assert notes == []


async def test_the_organs_bounds_hold():
    (render,), _ = await host_needs(FakeOrganism(), {"page": 1}, {"page": 100.0}, 10.0, 100)
    assert render.wanted == 6


async def test_what_is_not_known_is_not_guessed():
    organism = FakeOrganism()
    (render,), notes = await host_needs(organism, {"page": 1, "scan": 1, "goal": 1}, {"page": 1.0}, 1.0, 4)
    assert (render.wanted, render.load) == (None, None)
    assert "scan" in str(render.why)
    assert notes == ["no organ runs goal"]
    assert (await host_needs(organism, {}, {}, 1.0, 4))[0] == []
    organism.error = UnavailableError("away")
    needs, notes = await host_needs(organism, {"page": 1}, {"page": 1.0}, 1.0, 4)
    assert needs == []
    assert "away" in notes[0]
