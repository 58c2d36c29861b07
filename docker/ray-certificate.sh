#!/usr/bin/env bash
# Makes this container a certificate for Ray's TLS, and then becomes the command that it was given, if any. A node's
# certificate must name its address, which is known only now: so each container gets the authority's key.
#   RAY_TLS_AUTHORITY      folder with ca.crt and ca.key of deploy/make-certs.sh; unset: nothing is made
#   RAY_TLS_SERVER_CERT, RAY_TLS_SERVER_KEY, RAY_TLS_CA_CERT
#                          must name tls.crt, tls.key and ca.crt in one folder: what is made goes there
#   RAY_TLS_NAMES          further names to put into it, separated by spaces
set -euo pipefail

if [ -n "${RAY_TLS_AUTHORITY:-}" ]; then
    folder=$(dirname "${RAY_TLS_SERVER_CERT:?set it to FOLDER/tls.crt}")
    mkdir -p "$folder"
    chmod 700 "$folder"
    for file in ca.crt ca.key; do
        [ -r "$RAY_TLS_AUTHORITY/$file" ] || {
            echo "ray-certificate: $RAY_TLS_AUTHORITY/$file cannot be read (RAY_TLS_AUTHORITY)" >&2
            exit 2
        }
        cp -f "$RAY_TLS_AUTHORITY/$file" "$folder/$file"
    done
    # shellcheck disable=SC2086 # several names
    CERT_DAYS=${CERT_DAYS:-365} "$(dirname "$0")/../deploy/make-certs.sh" "$folder" ${RAY_TLS_NAMES:-} > /dev/null
    rm -f "$folder/ca.key" "$folder/ca.srl"
    unset RAY_TLS_AUTHORITY
fi
[ $# -eq 0 ] || exec "$@"
