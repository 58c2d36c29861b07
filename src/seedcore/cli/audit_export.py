"""`seedcore audit`: reads the audit log over HTTP, as text, JSON, or JSON lines for export."""

import json
from collections.abc import Iterator

from seedcore.cli.durations import moment_of
from seedcore.cli.gateway_call import call_gateway
from seedcore.settings import Settings

PAGE = 1000


def audit_rows(
    settings: Settings, since: str | None, until: str | None, **query: str | None
) -> Iterator[dict[str, object]]:
    """Rows of the audit log, the newest first, page by page.

    Raises:
        SeedCoreError: the gateway refused, or does not answer.
    """
    bounds = {"since": since, "until": until}
    moments = {name: None if text is None else moment_of(text).isoformat() for name, text in bounds.items()}
    cursor = None
    while True:
        page = call_gateway(
            settings, "GET", "/api/v1/audit", query={**query, **moments, "cursor": cursor, "limit": PAGE}
        )
        yield from page["items"]
        if (cursor := page["next_cursor"]) is None:
            return


def audit_line(row: dict[str, object]) -> str:
    """A row as a line for people."""
    who = f"{row['actor']} ({row['actor_kind']})"
    parts = (
        row["at"],
        row["status"],
        who,
        row["tenant"] or "-",
        row["source"] or "-",
        row["action"],
        row["target"] or "",
    )
    detail = json.dumps(row["detail"]) if row["detail"] else ""
    return "  ".join(str(part) for part in (*parts, detail) if part != "")
