#!/usr/bin/env bash
# Runs the bootstrap (BOOTSTRAP_MODE), which changes nothing where all is up: again BOOTSTRAP_RETRY_S seconds (default 5)
# after a failure, at once when /organism/health says that an organism that was up no longer is (a new head has no organs
# and no workers of SeedCore), and BOOTSTRAP_EVERY_S seconds (default 120) after a success in any case.
# EXIT_AFTER_BOOTSTRAP=true runs it once and ends with its exit status.
set -euo pipefail

case "${EXIT_AFTER_BOOTSTRAP:-false}" in
    true | 1) exec python -m bootstraps.bootstrap_entry ;;
    false | 0) ;;
    *) echo "bootstrap: EXIT_AFTER_BOOTSTRAP=$EXIT_AFTER_BOOTSTRAP is not allowed: true or false" >&2; exit 2 ;;
esac
done_file=${BOOTSTRAP_DONE_FILE:-/tmp/bootstrapped}
# The order in which SeedCore's settings read the two.
serve=${RAY_SERVE_ADDRESS:-${RAY_SERVE_URL:-http://127.0.0.1:8000}}

organism_up() {
    # Health answers 503 while PostgreSQL is away, too; what counts is what it says of the organism.
    wget --tries=1 -T 4 -q -O- --content-on-error ${SEEDCORE_TLS_CA:+"--ca-certificate=$SEEDCORE_TLS_CA"} \
        "${serve%/}/organism/health" 2> /dev/null \
        | grep -Eq '"organism_initialized": ?true'
}

wait_for_the_next_run() {
    local last=$((SECONDS + ${BOOTSTRAP_EVERY_S:-120})) was_up=no
    while [ "$SECONDS" -lt "$last" ]; do
        if organism_up; then
            was_up=yes
        elif [ "$was_up" = yes ]; then
            echo "bootstrap: the organism is no longer up at $serve; beginning again" >&2
            return
        fi
        sleep 2
    done
}

rm -f "$done_file"
while true; do
    if python -m bootstraps.bootstrap_entry; then
        touch "$done_file"
        wait_for_the_next_run
    else
        status=$?
        rm -f "$done_file"
        # A wrong setting does not become right by itself.
        [ "$status" -ne 2 ] || exit 2
        sleep "${BOOTSTRAP_RETRY_S:-5}"
    fi
done
