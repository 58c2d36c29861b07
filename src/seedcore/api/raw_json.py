"""Answers with JSON text as PostgreSQL keeps it, without parsing it."""

from fastapi import Response

JSON_OBJECT = dict[str, object]
"""The `response_model` of a route that answers with `json_answer`: what its OpenAPI page says."""


def json_answer(text: bytes, status: int = 200, **headers: str) -> Response:
    """`text` as the body."""
    return Response(text, status, headers, media_type="application/json")
