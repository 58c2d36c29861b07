#!/usr/bin/env bash
# The secrets of the prod overlay, made of fresh random values; those that exist are left alone.
#   ./deploy/make-secrets.sh NAMESPACE
#   STORES_SECRET=seedcore-stores ./deploy/deploy-datastores.sh NAMESPACE
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=common.sh
. ./common.sh

[ $# = 1 ] || fail "usage: make-secrets.sh NAMESPACE"
namespace=$1
need kubectl
ensure_namespace "$namespace"

random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

# Values go through a file that only this user reads, not through arguments, which every process of this host may see.
make() {
    local name=$1
    if kubectl -n "$namespace" get secret "$name" > /dev/null 2>&1; then
        echo "secret $name exists"
        return 1
    fi
    umask 077
    cat > "$work/$name"
    kubectl -n "$namespace" create secret generic "$name" --from-env-file="$work/$name"
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
postgres=$(random) mysql=$(random) redis=$(random) neo4j=$(random)
if make seedcore-stores << END
POSTGRES_PASSWORD=$postgres
MYSQL_PASSWORD=$mysql
REDIS_PASSWORD=$redis
NEO4J_PASSWORD=$neo4j
GCS_REDIS_PASSWORD=$(random)
END
then
    make seedcore-secrets << END || fail "seedcore-secrets exists and cannot know the new passwords: delete both, or add them there"
SEEDCORE_PG_DSN=postgresql://postgres:$postgres@postgresql:5432/seedcore
SEEDCORE_MYSQL_DSN=mysql+mysqlconnector://seedcore:$mysql@mysql:3306/seedcore
REDIS_URL=redis://:$redis@redis:6379
NEO4J_PASSWORD=$neo4j
SEEDCORE_API_KEYS=$(random)
END
fi
make seedcore-ray-token << END || true
auth_token=$(random)
END
