#!/usr/bin/env bash
# Certificates of one's own authority, for Ray, HTTP and the stores: FOLDER gets ca.crt, ca.key, tls.crt, tls.key.
#   ./deploy/make-certs.sh FOLDER [NAME | ADDRESS]...
# tls.crt names this machine's addresses, localhost, and the names given (of services, hosts, nodes). The authority is made
# once; a second run makes a new tls.crt and tls.key of the same authority, so running it again is how they are renewed.
#   CERT_DAYS   days that tls.crt holds (90)     CA_DAYS   days that the authority holds (3650)
set -euo pipefail

fail() {
    echo "make-certs: $*" >&2
    exit 2
}

[ $# -ge 1 ] || fail "usage: make-certs.sh FOLDER [NAME | ADDRESS]..."
command -v openssl > /dev/null || fail "openssl is missing"
folder=$1
shift
mkdir -p "$folder"
cd "$folder"
umask 077

if [ ! -s ca.key ] || [ ! -s ca.crt ]; then
    openssl ecparam -name prime256v1 -genkey -noout -out ca.key
    openssl req -x509 -new -key ca.key -sha256 -days "${CA_DAYS:-3650}" -subj "/CN=SeedCore authority" -out ca.crt \
        -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign"
fi

names=DNS:localhost,IP:127.0.0.1,IP:::1
for name in $(hostname) $(hostname -I 2> /dev/null || true) "$@"; do
    if [[ $name =~ ^[0-9.]+$ || $name =~ ^[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*$ ]]; then
        names+=",IP:$name"
    elif [[ $name =~ ^[A-Za-z0-9*._-]+$ ]]; then
        names+=",DNS:$name"
    else
        fail "'$name' is no name and no address"
    fi
done

draft=$(mktemp -d ./new.XXXXXX)
trap 'rm -rf "$draft"' EXIT
openssl ecparam -name prime256v1 -genkey -noout -out "$draft/tls.key"
openssl req -new -key "$draft/tls.key" -subj "/CN=seedcore" -out "$draft/tls.csr"
# Ray's processes are servers and clients of each other.
printf '%s\n' "subjectAltName=$names" "basicConstraints=critical,CA:FALSE" "keyUsage=critical,digitalSignature" \
    "extendedKeyUsage=serverAuth,clientAuth" > "$draft/extensions"
openssl x509 -req -in "$draft/tls.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -sha256 -days "${CERT_DAYS:-90}" \
    -extfile "$draft/extensions" -out "$draft/tls.crt" 2> "$draft/said" || fail "$(cat "$draft/said")"
# Whoever reads the two in between finds a pair that does not fit, and looks again.
mv "$draft/tls.key" tls.key
mv "$draft/tls.crt" tls.crt
# The key is for this user alone; certificates are for everybody.
chmod 644 ca.crt tls.crt
echo "make-certs: $PWD/tls.crt for $names"
