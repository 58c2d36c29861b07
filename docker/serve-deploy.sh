#!/usr/bin/env bash
# Deploys the Serve applications to the cluster whose dashboard RAY_DASHBOARD_ADDRESS names, and again every
# SERVE_DEPLOY_EVERY_S seconds (default 60): a head that has lost its state gets them back. What is deployed already is
# left alone, so this changes nothing while all is well. SERVE_DEPLOY_ONCE=1 ends after the first time; SEEDCORE_HTTP_PORT
# takes the place of the port in the file.
set -euo pipefail

config=${SERVE_CONFIG:-/app/serve_config/prod.yaml}
every=${SERVE_DEPLOY_EVERY_S:-60}
: "${RAY_DASHBOARD_ADDRESS:?set RAY_DASHBOARD_ADDRESS to the dashboard of the head, such as http://ray-head:8265}"

if [ -n "${SEEDCORE_HTTP_PORT:-}" ]; then
    moved=$(mktemp)
    sed "s/^  port: [0-9]*$/  port: $SEEDCORE_HTTP_PORT/" "$config" > "$moved"
    config=$moved
fi

while true; do
    if serve deploy --address "$RAY_DASHBOARD_ADDRESS" "$config"; then
        [ "${SERVE_DEPLOY_ONCE:-0}" = 1 ] && exit 0
        sleep "$every"
    else
        echo "serve-deploy: $RAY_DASHBOARD_ADDRESS did not take it; again in 5 s" >&2
        sleep 5
    fi
done
