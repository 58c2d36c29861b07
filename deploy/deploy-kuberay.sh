#!/usr/bin/env bash
# KubeRay's operator and a Ray cluster for a shared platform, with the official charts.
#   ./deploy/deploy-kuberay.sh             operator, and SeedCore by the overlay shared-platform
#   ./deploy/deploy-kuberay.sh operator    the operator alone
#   ./deploy/deploy-kuberay.sh chart       operator, and a bare Ray cluster by the chart kuberay/ray-cluster
# KUBERAY_NAMESPACE is kuberay, KUBERAY_VERSION the operator's version.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=common.sh
. ./common.sh

namespace=${KUBERAY_NAMESPACE:-kuberay}
need kubectl helm
case "${1:-cluster}" in
    operator) install_operator "$namespace" ;;
    chart)
        install_operator "$namespace"
        helm upgrade --install ray-cluster kuberay/ray-cluster --version "$KUBERAY_VERSION" \
            --namespace "$namespace" --values helm/ray-cluster-values.yaml
        ;;
    cluster)
        install_operator "$namespace"
        ./deploy-datastores.sh "$namespace"
        ./apply-new-ray-config.sh "$namespace" shared-platform
        ;;
    *) fail "'$1'? operator, chart, or nothing" ;;
esac
kubectl get rayclusters -n "$namespace"
kubectl get pods -n "$namespace" -l ray.io/cluster
