"""Models that a release before the gate has stored, whose manifests lack all that came since."""

import json

import httpx

from seedcore.ml.registry.model_store import MANIFEST, MODEL
from seedcore.ml.service import MLService
from seedcore.settings import Settings
from tests.ml.support import flowers, started_service

FIELDS = (
    *("name", "version", "created_at", "task", "features", "label_column", "label_kind", "labels", "params"),
    *("metrics", "n_rows", "sha256", "size_bytes", "xgboost_version"),
)
"""Of manifests then."""


async def test_models_of_an_earlier_release_predict_are_listed_and_promoted(pg_settings: Settings):
    async with started_service(pg_settings) as service:
        await _store_as_before(service)
        transport = httpx.ASGITransport(service.build_app())
        async with httpx.AsyncClient(transport=transport, base_url="http://ml") as http:
            for features in ([0, 0, 0], {"length": 0, "width": 0, "noise": None}):
                asked = {"name": "m", "features": features, "version": 1}
                answer = await http.post("/xgboost/predict", json=asked | {"contributions": True})
                assert answer.status_code == 200, answer.text
                assert answer.json()["model"] == {"name": "m", "version": 1}
            [listed] = (await http.get("/xgboost/list_models")).json()["models"]
            assert (listed["name"], listed["latest"], listed["aliases"]) == ("m", 2, {})
            info = (await http.get("/xgboost/model_info", params={"name": "m", "version": 1})).json()
            assert [column["name"] for column in info["schema"]["features"]] == ["length", "width", "noise"]
            first = await http.post("/xgboost/promote", json={"name": "m", "version": 1})
            assert first.json()["status"] == "promoted", first.text
            second = await http.post("/xgboost/promote", json={"name": "m", "version": 2})
            assert second.json()["status"] == "shadowing", second.text
            info = (await http.get("/xgboost/model_info", params={"name": "m"})).json()
            assert info["aliases"] == {"champion": 1, "candidate": 2}
        await service.monitors.keeper.run()
        assert service.monitors.health() == {"failing": {}}


async def _store_as_before(service: MLService) -> None:
    """Version 1 as it was stored then, and version 2 as it is now."""
    request = {"name": "m", "params": {"n_estimators": 5}} | flowers()
    for _ in range(2):
        await service.invoke("/xgboost/train", request)
    folder = service.parts.store.root / "m" / "1"
    manifest = json.loads((folder / MANIFEST).read_text())
    for path in folder.iterdir():
        if path.name not in (MANIFEST, MODEL):
            path.unlink()
    (folder / MANIFEST).write_text(json.dumps({name: manifest[name] for name in FIELDS}))
