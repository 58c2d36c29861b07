"""An empty application. Imports nothing of SeedCore: every replica imports this module."""

from fastapi import FastAPI
from ray import serve
from ray.serve import Application

api = FastAPI()


@serve.deployment
@serve.ingress(api)
class Empty:
    """Answers that it is there."""

    @api.get("/health")
    async def health(self) -> dict[str, str]:
        """Always well."""
        return {"status": "ok"}


def build(args: dict[str, str]) -> Application:
    """The application whose deployment has the name in `args`."""
    app: Application = Empty.options(name=args["name"]).bind()
    return app
