#!/usr/bin/env bash
# Renders the store charts into tests/packaging/rendered, as a development and as a production set-up, where the tests
# hold them against Kubernetes' schemas; needs helm. Run it after a change to deploy/helm.
set -euo pipefail
cd "$(dirname "$0")"

out=${1:-../tests/packaging/rendered}
for store in postgresql mysql redis neo4j; do
    helm template "$store" "helm/$store" > "$out/$store-dev.yaml"
    helm template "$store" "helm/$store" --set auth.existingSecret=seedcore-stores \
        --set persistence.storageClass=fast > "$out/$store-prod.yaml"
done
# What they were rendered from: a test says when that has changed.
find helm/postgresql helm/mysql helm/redis helm/neo4j -type f | LC_ALL=C sort | xargs sha256sum > "$out/sources.sha256"
