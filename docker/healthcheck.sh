#!/usr/bin/env bash
# Health of this container by its role: head (Ray and HTTP), worker (Ray), otherwise the API.
set -euo pipefail

get() { wget --tries=1 -T 4 -q -O- "$1"; }

raylet() {
    get "http://127.0.0.1:${RAY_DASHBOARD_AGENT_PORT:-52365}/api/local_raylet_healthz" | grep -q success
}

case "${SEEDCORE_ROLE:-client}" in
    head)
        raylet
        get "http://127.0.0.1:${SEEDCORE_HTTP_PORT:-8000}/-/healthz" > /dev/null
        ;;
    worker) raylet ;;
    *) get "http://127.0.0.1:${SEEDCORE_API_PORT:-8002}/health" > /dev/null ;;
esac
