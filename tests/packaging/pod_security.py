"""Kubernetes' Pod Security Standard `restricted`, as far as its rules are about fields: what it would refuse of a pod.

https://kubernetes.io/docs/concepts/security/pod-security-standards
"""

from collections.abc import Iterator

from tests.packaging.manifests import Document, clusters, pods

VOLUMES = {
    *(
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "image",
        "persistentVolumeClaim",
        "projected",
        "secret",
    )
}
SYSCTLS = {
    *("kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start"),
    *("net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range", "net.ipv4.ip_local_reserved_ports"),
    *("net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl"),
    *("net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"),
}
SECCOMP = {"RuntimeDefault", "Localhost"}


def refused(document: Document) -> list[str]:
    """What `restricted` would refuse of every pod that this document makes, the autoscaler's container included."""
    where = f"{document['kind']}/{document['metadata']['name']}"
    found = [f"{where}: {problem}" for pod in pods(document) for problem in _of_pod(pod["spec"])]
    for cluster in clusters(document):
        if cluster.get("enableInTreeAutoscaling"):
            sidecar = {"name": "autoscaler", **cluster.get("autoscalerOptions", {})}
            pod = cluster["headGroupSpec"]["template"]["spec"].get("securityContext", {})
            found += [f"{where}: {problem}" for problem in _of_container(sidecar, pod)]
    return found


def _of_pod(spec: Document) -> Iterator[str]:
    shared = spec.get("securityContext", {})
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(field):
            yield field
    for volume in spec.get("volumes", []):
        if kinds := set(volume) - {"name"} - VOLUMES:
            yield f"volume {volume['name']}: {kinds}"
    for sysctl in shared.get("sysctls", []):
        if sysctl["name"] not in SYSCTLS:
            yield f"sysctl {sysctl['name']}"
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(kind, []):
            yield from _of_container(container, shared)


def _of_container(container: Document, shared: Document) -> Iterator[str]:
    own, name = container.get("securityContext", {}), container["name"]
    either = {**shared, **own}
    capabilities = own.get("capabilities", {})
    if own.get("privileged"):
        yield f"{name}: privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield f"{name}: allowPrivilegeEscalation"
    if "ALL" not in capabilities.get("drop", []):
        yield f"{name}: capabilities that are not dropped"
    if added := set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
        yield f"{name}: capabilities {added}"
    if either.get("runAsNonRoot") is not True:
        yield f"{name}: runAsNonRoot"
    if 0 in (shared.get("runAsUser"), own.get("runAsUser")):
        yield f"{name}: runAsUser 0"
    if either.get("seccompProfile", {}).get("type") not in SECCOMP:
        yield f"{name}: seccompProfile"
    if either.get("procMount", "Default") != "Default":
        yield f"{name}: procMount"
    if any(context.get(field) for context in (shared, own) for field in ("seLinuxOptions", "windowsOptions")):
        yield f"{name}: options of SELinux or Windows, which nothing here needs"
    if any(context.get("appArmorProfile", {}).get("type") == "Unconfined" for context in (shared, own)):
        yield f"{name}: AppArmor unconfined"
    if any(port.get("hostPort") for port in container.get("ports", [])):
        yield f"{name}: hostPort"
