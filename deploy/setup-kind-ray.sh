#!/usr/bin/env bash
# Everything on this machine: a Kind cluster, KubeRay, the stores, SeedCore, and a proof that Ray can be reached.
#   ./deploy/setup-kind-ray.sh [OVERLAY]      (dev; raycluster for a RayCluster named seedcore)
# CLUSTER_NAME is seedcore, NAMESPACE is seedcore-dev, SEEDCORE_IMAGE the image, built here unless SKIP_BUILD=1.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=common.sh
. ./common.sh

overlay=${1:-dev}
cluster=${CLUSTER_NAME:-seedcore}
namespace=${NAMESPACE:-seedcore-dev}
image=${SEEDCORE_IMAGE:-seedcore:0.1.0}
need docker kind kubectl helm

kind get clusters | grep -qx "$cluster" || kind create cluster --name "$cluster" --config kind-config.yaml --wait 120s
kubectl config use-context "kind-$cluster"
[ "${SKIP_BUILD:-0}" = 1 ] || docker build -f ../docker/Dockerfile -t "$image" ..
kind load docker-image "$image" --name "$cluster"

install_operator kuberay
./deploy-datastores.sh "$namespace"
./apply-new-ray-config.sh "$namespace" "$overlay"

# As a client pod would.
kubectl -n "$namespace" exec deploy/seedcore-api -- python -c \
    'from seedcore.utils.ray_config import init_ray_with_smart_defaults as go; assert go(); print("Connected!")'
