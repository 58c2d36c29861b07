#!/usr/bin/env bash
# The end of an upgrade: takes away what only the release before needed. Refused while its workers live.
#   ./deploy/migrate-after.sh [NAMESPACE]
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=common.sh
. ./common.sh

namespace=${1:-seedcore-dev}
need kubectl
job=seedcore-migrate-after-$(date +%s)
kubectl -n "$namespace" create job --from=cronjob/seedcore-migrate-after "$job"
if ! kubectl -n "$namespace" wait "job/$job" --for=condition=Complete --timeout="${ROLL_TIMEOUT_S:-1800}s"; then
    kubectl -n "$namespace" logs "job/$job" --tail=20 >&2 || true
    fail "the schema keeps what the release before needs; nothing else is wrong with that. Run this again later"
fi
