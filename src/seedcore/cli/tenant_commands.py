"""`seedcore tenant`: weights of tenants, over HTTP."""

import json
from typing import Annotated

import typer

from seedcore.cli.gateway_call import call_gateway
from seedcore.settings import load_settings

TENANTS = "/api/v1/tenants"

tenant_app = typer.Typer(help="Tenants and their weights. Needs a platform key with the scope `admin`.")

AsJson = Annotated[bool, typer.Option("--json", help="One JSON value.")]


@tenant_app.command("list")
def list_all(as_json: AsJson = False) -> None:
    """Tenants by name, each with its weight and its ready tasks (counted up to 1,000 of a queue and priority)."""
    settings = load_settings()
    items: list[dict[str, object]] = []
    cursor = None
    while True:
        page = call_gateway(settings, "GET", TENANTS, query={"cursor": cursor, "limit": 500})
        items += page["items"]
        if (cursor := page["next_cursor"]) is None:
            break
    if as_json:
        print(json.dumps(items, indent=2))
        return
    for item in items:
        print(f"{item['name']}  weight {item['weight']}  ready {item['ready']}")


@tenant_app.command("set")
def set_weight(
    name: Annotated[str, typer.Argument(help="The tenant.")],
    weight: Annotated[int, typer.Option("--weight", help="Its share beside the others', 1 to 1000.")],
    as_json: AsJson = False,
) -> None:
    """Set a tenant's weight. Exit status: 0 set, 1 refused, 2 a bad argument."""
    made = call_gateway(load_settings(), "PUT", f"{TENANTS}/{name}", body={"weight": weight})
    print(json.dumps(made) if as_json else f"{made['name']}  weight {made['weight']}")
