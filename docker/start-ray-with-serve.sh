#!/usr/bin/env bash
# The head: Ray with the GCS on 6380, the client server on 10001, the dashboard on 8265 and the metrics on 8080, then
# the Serve applications on 8000. Stays in the foreground; ends when Ray ends, and ends Ray when it is stopped.
#
#   RAY_NODE_IP            address that other nodes reach this one at (found out when unset)
#   RAY_HEAD_CPUS          CPUs that the head offers (default: as many as there are)
#   SERVE_CONFIG           default serve_config/prod.yaml
#   SEEDCORE_HTTP_MODE     haproxy (default) or proxy, see docs/decisions/0004-http-mode.md
#   RAY_AUTH_MODE          token (default; then RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH) or disabled
#   RAY_TMPDIR             Ray's own folder (default /tmp/ray)
#   RAY_OBJECT_MANAGER_PORT, RAY_NODE_MANAGER_PORT, RAY_MIN_WORKER_PORT, RAY_MAX_WORKER_PORT
#                          pinned where a firewall is in the way; Ray chooses otherwise
set -euo pipefail

here=$(cd "$(dirname "$0")/.." && pwd)
config=${SERVE_CONFIG:-$here/serve_config/prod.yaml}
dashboard_port=${RAY_DASHBOARD_PORT:-8265}

export RAY_AUTH_MODE=${RAY_AUTH_MODE:-token}
if [ "$RAY_AUTH_MODE" = token ] && [ -z "${RAY_AUTH_TOKEN:-}${RAY_AUTH_TOKEN_PATH:-}" ]; then
    echo "start-ray-with-serve: RAY_AUTH_MODE=token needs RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH (./docker/sc-cmd.sh up" \
        "writes one into docker/.env); RAY_AUTH_MODE=disabled lets everybody in who reaches a port" >&2
    exit 2
fi
[ -r "$config" ] || { echo "start-ray-with-serve: $config cannot be read (SERVE_CONFIG)" >&2; exit 2; }

export SEEDCORE_ROLE=head
# The role finds the Ray of this host; a client's address or port is wrong here.
unset RAY_ADDRESS RAY_HOST RAY_PORT
# The client server forks while gRPC runs: with its fork handlers on, the child crashes often (ray-project/ray#63202).
export GRPC_ENABLE_FORK_SUPPORT=0
# Ray's workers run at nice 15; on a busy machine the services would starve.
export RAY_worker_niceness=${RAY_worker_niceness:-0}
export RAY_USAGE_STATS_ENABLED=0
if [ "${SEEDCORE_HTTP_MODE:-haproxy}" = haproxy ]; then
    # Only together do the two pay; every node needs them before its Ray starts.
    export RAY_SERVE_ENABLE_HA_PROXY=1 RAY_SERVE_THROUGHPUT_OPTIMIZED=1
fi

arguments=(
    --head --block --disable-usage-stats
    --port="${RAY_GCS_PORT:-6380}"
    --ray-client-server-port="${RAY_CLIENT_SERVER_PORT:-10001}"
    --dashboard-host=0.0.0.0 --dashboard-port="$dashboard_port"
    --metrics-export-port="${RAY_METRICS_PORT:-8080}"
    --dashboard-agent-listen-port="${RAY_DASHBOARD_AGENT_PORT:-52365}"
    --resources='{"head_node": 1}'
)
[ -n "${RAY_NODE_IP:-}" ] && arguments+=(--node-ip-address="$RAY_NODE_IP")
[ -n "${RAY_HEAD_CPUS:-}" ] && arguments+=(--num-cpus="$RAY_HEAD_CPUS")
[ -n "${RAY_TMPDIR:-}" ] && arguments+=(--temp-dir="$RAY_TMPDIR")
[ -n "${RAY_OBJECT_STORE_MEMORY:-}" ] && arguments+=(--object-store-memory="$RAY_OBJECT_STORE_MEMORY")
[ -n "${RAY_OBJECT_MANAGER_PORT:-}" ] && arguments+=(--object-manager-port="$RAY_OBJECT_MANAGER_PORT")
[ -n "${RAY_NODE_MANAGER_PORT:-}" ] && arguments+=(--node-manager-port="$RAY_NODE_MANAGER_PORT")
[ -n "${RAY_MIN_WORKER_PORT:-}" ] && arguments+=(--min-worker-port="$RAY_MIN_WORKER_PORT")
[ -n "${RAY_MAX_WORKER_PORT:-}" ] && arguments+=(--max-worker-port="$RAY_MAX_WORKER_PORT")

ray start "${arguments[@]}" &
ray=$!
stop() {
    kill -TERM "$ray" 2> /dev/null || true
    wait "$ray" || true
    exit "$1"
}
trap 'stop 0' TERM INT

log=$(mktemp)
# A restart would lose the progress of this start: on a slow machine waiting is better.
deadline=$((SECONDS + ${SEEDCORE_BOOTSTRAP_TIMEOUT_S:-600}))
until serve deploy --address "http://127.0.0.1:$dashboard_port" "$config" 2> "$log"; do
    if ! kill -0 "$ray" 2> /dev/null; then
        status=0
        wait "$ray" || status=$?
        echo "start-ray-with-serve: Ray has ended with status $status" >&2
        exit 1
    fi
    if [ "$SECONDS" -ge "$deadline" ]; then
        cat "$log" >&2
        echo "start-ray-with-serve: the applications were not taken in time (SEEDCORE_BOOTSTRAP_TIMEOUT_S)" >&2
        stop 1
    fi
    sleep 1
done
rm -f "$log"
echo "start-ray-with-serve: Ray runs, the applications are being deployed from $config"
status=0
wait "$ray" || status=$?
exit "$status"
