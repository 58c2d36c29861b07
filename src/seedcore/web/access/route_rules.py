"""Finds the rule of a request, by the route that the framework will take."""

import re
from dataclasses import dataclass

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.routing import compile_path
from starlette.types import Scope

from seedcore.web.access.scopes import PREFIXES, READ, RULES, UNLISTED, RouteRule

NO_PATH = "(no such path)"
OPEN_PATHS = frozenset({"/health", "/readyz", "/api/v1/health"})
"""Paths, below the application's route prefix, that need no key."""
KNOWN_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def route_path(scope: Scope) -> str:
    """The path below the application's own prefix, as the framework's router sees it."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    if root and (path == root or path.startswith(f"{root}/")):
        return path[len(root) :]
    return path


@dataclass(frozen=True, slots=True)
class RuledRoute:
    """A route as the audit log names it, and its rule."""

    action: str
    rule: RouteRule
    pattern: re.Pattern[str]
    methods: frozenset[str]


class RouteRules:
    """The rules of an application's routes, tried in the order in which the framework tries them."""

    def __init__(self, service: str, app: FastAPI) -> None:
        rules, prefix = RULES.get(service, {}), PREFIXES.get(service, "")
        self._routes: list[RuledRoute] = []
        literal: list[str] = []
        for route in iter_route_contexts(app.routes):
            if route.path is None or route.methods is None:
                continue
            pattern = compile_path(route.path)[0]
            for method in sorted(route.methods):
                # The framework adds HEAD beside GET.
                listed = "GET" if method == "HEAD" else method
                rule = rules.get(f"{listed} {route.path}", UNLISTED)
                action = f"{method} {prefix}{route.path}"
                self._routes.append(RuledRoute(action, rule, pattern, frozenset({method})))
            if "{" not in route.path:
                literal.append(route.path)
        self._exact = {
            (method, path): found
            for path in literal
            for method in KNOWN_METHODS
            if (found := self._first(method, path)) is not None
        }
        self._patterns = [route for route in self._routes if "{" in route.action]

    def find(self, scope: Scope) -> tuple[RuledRoute | None, str, str | None]:
        """The route of a request, how the audit log names it, and what its path's parameters name."""
        method, path = scope["method"], route_path(scope)
        asked = "GET" if method == "HEAD" else method
        exact = self._exact.get((asked, path))
        if exact is not None:
            return exact, exact.action, None
        # The framework's patterns end with `$`, which also matches before a last newline.
        for route in self._routes if path.endswith("\n") else self._patterns:
            if asked in route.methods and (match := route.pattern.match(path)):
                return route, route.action, "/".join(match.groups())[:200]
        return None, f"{method if method in KNOWN_METHODS else 'OTHER'} {NO_PATH}", None

    def _first(self, method: str, path: str) -> RuledRoute | None:
        return next((r for r in self._routes if method in r.methods and r.pattern.match(path)), None)


def rule_of(route: RuledRoute | None) -> RouteRule:
    """The rule of a route; what has none is answered with 404, 405 or 204, which everyone with a key may see."""
    return READ if route is None else route.rule
