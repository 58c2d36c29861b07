#!/usr/bin/env bash
# PostgreSQL with pgvector, MySQL, Redis (a master and three replicas) and Neo4j, by the charts of deploy/helm.
#   ./deploy/deploy-datastores.sh [NAMESPACE]
# STORES_SECRET names a secret with their passwords (deploy/make-secrets.sh makes seedcore-stores); without it they get
# those that everybody knows, for development.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=common.sh
. ./common.sh

namespace=${1:-seedcore-dev}
need kubectl helm
ensure_namespace "$namespace"
for store in postgresql mysql redis neo4j; do
    helm upgrade --install "$store" "helm/$store" --namespace "$namespace" \
        --set "auth.existingSecret=${STORES_SECRET:-}" --wait --timeout 10m
done
kubectl get pods,svc -n "$namespace" -l app.kubernetes.io/part-of=seedcore-stores
