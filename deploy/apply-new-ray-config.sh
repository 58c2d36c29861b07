#!/usr/bin/env bash
# Applies an overlay, waits until SeedCore is up, and ends the migration once nothing of the release before it runs.
#   ./deploy/apply-new-ray-config.sh [NAMESPACE] [OVERLAY]       (seedcore-dev, dev)
# ROLL_TIMEOUT_S bounds each wait (1800).
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=common.sh
. ./common.sh

namespace=${1:-seedcore-dev}
overlay=kustomize/overlays/${2:-dev}
seconds=${ROLL_TIMEOUT_S:-1800}
need kubectl
[ -d "$overlay" ] || fail "there is no overlay ${2:-dev}: $(cd kustomize/overlays && echo *)"
kubectl get crd rayservices.ray.io > /dev/null || fail "KubeRay is not installed: ./deploy/deploy-kuberay.sh operator"
ensure_namespace "$namespace"

k() { kubectl -n "$namespace" "$@"; }

# A Job cannot be changed; the bootstrap may run as often as one likes.
k delete job seedcore-bootstrap --ignore-not-found
k apply -k "$overlay"

if k get rayservice seedcore-svc > /dev/null 2>&1; then
    k wait rayservice/seedcore-svc --for=condition=Ready --timeout="${seconds}s"
    # During an upgrade the old cluster is ready, too.
    k wait rayservice/seedcore-svc --for=condition=UpgradeInProgress=False --timeout="${seconds}s"
else
    k wait raycluster --all --for=condition=HeadPodReady --timeout="${seconds}s"
    k rollout status deployment/seedcore-serve-deploy --timeout="${seconds}s"
fi
k rollout status deployment/seedcore-api --timeout="${seconds}s"
k wait job/seedcore-bootstrap --for=condition=Complete --timeout="${seconds}s"

# SeedCore's workers in the old cluster live as long as it does.
deadline=$((SECONDS + seconds))
while [ "$(k get raycluster -l ray.io/originated-from-cr-name=seedcore-svc -o name | wc -l)" -gt 1 ]; do
    [ "$SECONDS" -lt "$deadline" ] || fail "the old cluster is still there; later: ./deploy/migrate-after.sh $namespace"
    sleep 10
done
./migrate-after.sh "$namespace"
k get configmaps,pods,svc
