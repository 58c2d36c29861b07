#!/usr/bin/env bash
# Health of this container by its role: head (Ray and HTTP), worker (Ray), otherwise the API.
set -euo pipefail

get() { wget --tries=1 -T 4 -q -O- "$@"; }

# HTTP of this container itself, over loopback: its certificate is for the names that others use.
ours() {
    if [ -n "${SEEDCORE_TLS_CERT:-}" ]; then
        get --no-check-certificate "https://127.0.0.1:$1" > /dev/null
    else
        get "http://127.0.0.1:$1" > /dev/null
    fi
}

raylet() {
    get "http://127.0.0.1:${RAY_DASHBOARD_AGENT_PORT:-52365}/api/local_raylet_healthz" | grep -q success
}

case "${SEEDCORE_ROLE:-client}" in
    head)
        raylet
        ours "${SEEDCORE_HTTP_PORT:-8000}/-/healthz"
        ;;
    worker) raylet ;;
    *) ours "${SEEDCORE_API_PORT:-8002}/health" ;;
esac
