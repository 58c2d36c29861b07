"""Renders every error as an RFC 9457 problem document: the response, and the exception handlers of an application."""

import json
from collections.abc import Sequence

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from seedcore import errors
from seedcore.web.bodies import body_error

PROBLEM_JSON = "application/problem+json"
_HTTP_CODES = {404: "not_found", 400: "malformed_request"}


class ProblemResponse(JSONResponse):
    """An RFC 9457 response, in ASCII: the name of a field may hold what UTF-8 cannot encode."""

    media_type = PROBLEM_JSON

    def render(self, content: object) -> bytes:
        """The document as JSON."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


def add_problem_handlers(app: FastAPI) -> None:
    """Let `app` answer every error with a problem document."""
    app.add_exception_handler(errors.SeedCoreError, _on_seedcore_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_error)


def problem_response(error: errors.SeedCoreError) -> JSONResponse:
    """The response to an error, with the headers that belong to its status."""
    headers = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, round(error.retry_after_s)))
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    for name in ("allow", "accept_encoding"):
        if name in error.extra:
            headers[name.replace("_", "-").title()] = str(error.extra[name])
    return ProblemResponse(errors.problem(error), error.status, headers)


def field_errors(error: ValidationError) -> list[errors.FieldError]:
    """The wrong fields of a pydantic validation error."""
    return _named(errors.wrong_fields(error.errors()))


def unexpected(error: Exception) -> errors.SeedCoreError:
    """What clients see of an unexpected error: only its type, since its text may hold anything."""
    return errors.SeedCoreError(f"Unexpected {type(error).__name__}; the service's log has the details.")


def _named(found: Sequence[errors.FieldError]) -> list[errors.FieldError]:
    return [errors.FieldError(item.field or "(body)", item.message) for item in found]


async def _on_seedcore_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, errors.SeedCoreError)
    return problem_response(error)


async def _on_validation_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    for item in error.errors():
        if item["type"] == "json_invalid":
            where = f"{item['ctx']['error']} at character {item['loc'][-1]}"
            return problem_response(errors.MalformedError(f"The body is not valid JSON: {where}."))
    # FastAPI puts in front where the value stood: body, query, path or header.
    found = errors.wrong_fields({"loc": item["loc"][1:], "msg": item["msg"]} for item in error.errors())
    return problem_response(errors.InvalidInputError.for_fields(_named(found)))


async def _on_http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    # FastAPI wraps whatever reading the body raises, and so the limit's own error.
    if (known := body_error(error.__cause__)) is not None:
        return problem_response(known)
    code = _HTTP_CODES.get(error.status_code, "http_error")
    path = request.url.path
    detail = f"There is no {path}; /docs lists what there is." if error.status_code == 404 else str(error.detail)
    body = {
        "type": f"urn:seedcore:problem:{code}",
        "title": str(error.detail),
        "status": error.status_code,
        "detail": detail,
        "code": code,
    }
    return ProblemResponse(body, error.status_code, error.headers)
