#!/usr/bin/env bash
# What the scripts here share: they read it, and it is not run by itself.
set -euo pipefail

# The operator that the manifests were checked against.
export KUBERAY_VERSION=${KUBERAY_VERSION:-1.7.0}

fail() {
    echo "$(basename "$0"): $*" >&2
    exit 2
}

need() {
    local tool
    for tool in "$@"; do
        command -v "$tool" > /dev/null || fail "needs $tool"
    done
}

ensure_namespace() {
    kubectl get namespace "$1" > /dev/null 2>&1 || kubectl create namespace "$1"
}

install_operator() {
    helm repo add kuberay https://ray-project.github.io/kuberay-helm/ --force-update
    helm upgrade --install kuberay-operator kuberay/kuberay-operator --version "$KUBERAY_VERSION" \
        --namespace "$1" --create-namespace
    kubectl wait --for=condition=available --timeout=300s deployment/kuberay-operator -n "$1"
}
