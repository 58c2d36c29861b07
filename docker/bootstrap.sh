#!/usr/bin/env bash
# Runs the bootstrap (BOOTSTRAP_MODE), which changes nothing where all is up, and again every BOOTSTRAP_EVERY_S seconds
# (default 120): a head that was made anew has lost organs and dispatchers, and gets them back.
# EXIT_AFTER_BOOTSTRAP=true runs it once and ends with its exit status.
set -euo pipefail

case "${EXIT_AFTER_BOOTSTRAP:-false}" in
    true | 1) exec python -m bootstraps.bootstrap_entry ;;
    false | 0) ;;
    *) echo "bootstrap: EXIT_AFTER_BOOTSTRAP=$EXIT_AFTER_BOOTSTRAP is not allowed: true or false" >&2; exit 2 ;;
esac
done_file=${BOOTSTRAP_DONE_FILE:-/tmp/bootstrapped}
rm -f "$done_file"
while true; do
    if python -m bootstraps.bootstrap_entry; then
        touch "$done_file"
    else
        status=$?
        rm -f "$done_file"
        # A wrong setting does not become right by itself.
        [ "$status" -ne 2 ] || exit 2
    fi
    sleep "${BOOTSTRAP_EVERY_S:-120}"
done
