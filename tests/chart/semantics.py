"""What schemas cannot say of a release's objects: that they fit together, that they are safe, that they can be replaced.

Every check takes a rendering and returns problems in words. `test_semantics` shows each of them a release that is wrong.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from tests.chart.helm import Object, Rendering, containers, pods

_VERSION_LABELS = {"app.kubernetes.io/version", "helm.sh/chart", "app.kubernetes.io/managed-by"}
_LONGEST_APPENDIX = 11  # what Kubernetes puts behind a name in a label: "-" and a hash
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


def names_fit(release: Rendering) -> Iterator[str]:
    """Names are DNS labels, with room for what is appended to those of pods."""
    for item in release.objects:
        name = item["metadata"]["name"]
        longest = 63 - _LONGEST_APPENDIX if item["kind"] in ("Deployment", "StatefulSet") else 63
        if len(name) > longest or not _NAME.fullmatch(name):
            yield f"{item['kind']} {name}: {len(name)} characters"
        for label, value in item["metadata"].get("labels", {}).items():
            if len(str(value)) > 63:
                yield f"{item['kind']} {name}: label {label} is too long"


def selectors_match(release: Rendering) -> Iterator[str]:
    """Every selector finds pods of the release, and holds nothing that a new version changes."""
    labels = {
        f"{item['kind']} {item['metadata']['name']}": item["spec"]["template"]["metadata"]["labels"]
        for item in release.objects
        if "template" in item.get("spec", {})
    }
    for where, selector in _selectors(release):
        if not any(selector.items() <= pod.items() for pod in labels.values()):
            yield f"{where}: selects nothing"
        if selector.keys() & _VERSION_LABELS:
            yield f"{where}: selects by a version"
        if where in labels and not selector.items() <= labels[where].items():
            yield f"{where}: does not select its own pods"


def _selectors(release: Rendering) -> Iterator[tuple[str, dict[str, str]]]:
    for item in release.objects:
        where, spec = f"{item['kind']} {item['metadata']['name']}", item.get("spec", {})
        match item["kind"]:
            case "Service":
                yield where, spec["selector"]
            case "NetworkPolicy":
                yield where, spec["podSelector"]["matchLabels"]
            case "Deployment" | "StatefulSet" | "PodDisruptionBudget" | "PodMonitor":
                yield where, spec["selector"]["matchLabels"]
    for where, pod in pods(release):
        for constraint in pod.get("topologySpreadConstraints", []):
            yield f"spread of {where}", constraint["labelSelector"]["matchLabels"]


def ports_fit(release: Rendering) -> Iterator[str]:
    """Names of ports are short and unique, and whoever names a port names one that is there."""
    known: set[str] = set()
    for where, pod in pods(release):
        ports = [port for container in containers(pod) for port in container.get("ports", [])]
        for repeated, count in Counter([port["name"] for port in ports] + [port["containerPort"] for port in ports]).items():
            if count > 1:
                yield f"{where}: port {repeated} twice"
        names = {port["name"] for port in ports}
        known |= names
        yield from (f"{where}: the name {name} is too long" for name in names if len(name) > 15)
        yield from (f"{where}: probes port {port}" for port in _probed(pod) if port not in names)
    named = {port["targetPort"] for item in release.of("Service") for port in item["spec"]["ports"]}
    named |= {end["port"] for item in release.of("PodMonitor") for end in item["spec"]["podMetricsEndpoints"]}
    yield from (f"no pod has the port {port}" for port in named - known)


def _probed(pod: Object) -> Iterator[str]:
    for container in containers(pod):
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            if probe in container:
                yield container[probe]["httpGet"]["port"]


def volumes_fit(release: Rendering) -> Iterator[str]:
    """Every mount has a volume, every volume is mounted, no name and no path comes twice."""
    for where, pod in pods(release):
        volumes = [volume["name"] for volume in pod.get("volumes", [])]
        mounted: set[str] = set()
        for container in containers(pod):
            mounts = container.get("volumeMounts", [])
            mounted |= {mount["name"] for mount in mounts}
            if len({mount["mountPath"] for mount in mounts}) < len(mounts):
                yield f"{where}: a path is mounted twice"
            variables = [variable["name"] for variable in container.get("env", [])]
            if len(set(variables)) < len(variables):
                yield f"{where}: a variable comes twice"
        if len(set(volumes)) < len(volumes) or set(volumes) != mounted:
            yield f"{where}: volumes {volumes}, mounted {sorted(mounted)}"
        if len({container["name"] for container in containers(pod)}) < len(containers(pod)):
            yield f"{where}: two containers with one name"


def references_exist(release: Rendering) -> Iterator[str]:
    """Every ConfigMap, Secret, key and account that is named is of the release, or was said to exist."""
    made = {(item["kind"], item["metadata"]["name"]): set(item.get("data", {})) for item in release.objects}
    for where, kind, name, keys in _references(release):
        if (kind, name) in made and not keys <= made[kind, name]:
            yield f"{where}: {kind} {name} has no {sorted(keys - made[kind, name])}"
        elif (kind, name) not in made and name.startswith(release.one("Deployment")["metadata"]["name"]):
            yield f"{where}: there is no {kind} {name}"


def _references(release: Rendering) -> Iterator[tuple[str, str, str, set[str]]]:
    for where, pod in pods(release):
        yield where, "ServiceAccount", pod["serviceAccountName"], set()
        for volume in pod.get("volumes", []):
            if "configMap" in volume:
                yield where, "ConfigMap", volume["configMap"]["name"], set()
            if "secret" in volume:
                keys = {item["key"] for item in volume["secret"].get("items", [])}
                yield where, "Secret", volume["secret"]["secretName"], keys
        for container in containers(pod):
            for variable in container.get("env", []):
                if source := variable.get("valueFrom", {}).get("secretKeyRef"):
                    yield where, "Secret", source["name"], {source["key"]}
    for item in release.of("Ingress"):
        for rule in item["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                yield "Ingress", "Service", path["backend"]["service"]["name"], set()


def is_replaceable(release: Rendering) -> Iterator[str]:
    """Rollouts and evictions can make progress, and only one thing decides how many nodes there are."""
    node = release.node
    update = node["strategy"]["rollingUpdate"]
    if {str(update["maxSurge"]), str(update["maxUnavailable"])} <= {"0", "0%"}:
        yield "no pod could be replaced"
    yield from (
        f"{item['metadata']['name']} forbids every eviction"
        for item in release.of("PodDisruptionBudget")
        if str(item["spec"].get("maxUnavailable", "0")) in ("0", "0%")
    )
    deciders = ["replicas"] * ("replicas" in node) + [
        item["kind"] for item in release.objects if item["kind"] in ("HorizontalPodAutoscaler", "ScaledObject")
    ]
    if len(deciders) != 1:
        yield f"how many nodes there are is decided by {deciders}"
    if node["progressDeadlineSeconds"] <= release.pod["terminationGracePeriodSeconds"]:
        yield "one drain is longer than a rollout may stand still"


def is_restricted(release: Rendering) -> Iterator[str]:
    """The restricted Pod Security Standard, and no token."""
    for where, pod in pods(release):
        if pod.get("automountServiceAccountToken") is not False:
            yield f"{where}: mounts a token"
        yield from (f"{where}: {flag}" for flag in ("hostNetwork", "hostPID", "hostIPC") if pod.get(flag))
        for volume in pod.get("volumes", []):
            kinds = set(volume) - {"name"}
            if not kinds <= {"configMap", "secret", "emptyDir", "projected", "downwardAPI", "csi", "persistentVolumeClaim"}:
                yield f"{where}: volume of {kinds}"
        for container in containers(pod):
            yield from (f"{where}/{container['name']}: {what}" for what in _unrestricted(pod, container))


def _unrestricted(pod: Object, container: Object) -> Iterator[str]:
    mine, of_pod = container.get("securityContext", {}), pod.get("securityContext", {})
    both = of_pod | mine
    wanted: dict[str, bool] = {
        "runs as root": both.get("runAsNonRoot") is True and both.get("runAsUser") != 0,
        "may gain privileges": mine.get("allowPrivilegeEscalation") is False and not mine.get("privileged"),
        "writes to its image": mine.get("readOnlyRootFilesystem") is True,
        "keeps capabilities": mine.get("capabilities", {}).get("drop") == ["ALL"] and "add" not in mine["capabilities"],
        "has no seccomp profile": both.get("seccompProfile", {}).get("type") in ("RuntimeDefault", "Localhost"),
        "unmasks /proc": both.get("procMount", "Default") == "Default",
        "has SELinux options": "seLinuxOptions" not in both,
        "has a port of the machine": not any(port.get("hostPort") for port in container.get("ports", [])),
        "has a lifecycle of the machine": "host" not in str(container.get("lifecycle", {})),
    }
    return (what for what, is_so in wanted.items() if not is_so)


def is_modest(release: Rendering) -> Iterator[str]:
    """Memory is bounded and set aside in full; images are named with a version."""
    for where, pod in pods(release):
        for container in containers(pod):
            if container["image"].endswith(":latest") or not re.search(r":[^/]+$", container["image"]):
                yield f"{where}: image {container['image']}"
            resources = container.get("resources")
            if resources and resources["requests"]["memory"] != resources["limits"]["memory"]:
                yield f"{where}: may use more memory than it asked for"
            if resources and "cpu" in resources["limits"]:
                yield f"{where}: is throttled"


def keeps_secrets(release: Rendering) -> Iterator[str]:
    """No ConfigMap, variable or annotation holds what only Secrets may."""
    hidden = re.compile(r"(?<![_.a-z])(password|secret|token|credentials|nkey) ?[=:] ?[\"']?[A-Za-z0-9]", re.IGNORECASE)
    for item in release.of("ConfigMap"):
        for key, text in item.get("data", {}).items():
            if not key.endswith(".json") and hidden.search(text):
                yield f"ConfigMap {item['metadata']['name']}: {key}"
    for where, pod in pods(release):
        for container in containers(pod):
            for variable in container.get("env", []):
                value = re.sub(r"\$\([A-Z_]+\)", "", variable.get("value", ""))
                if re.search(r"PASSWORD|TOKEN|SECRET", variable["name"]) and value.strip("'"):
                    yield f"{where}: {variable['name']}"


def stays_in_its_namespace(release: Rendering) -> Iterator[str]:
    """Every object says where it belongs: where the release is."""
    for item in release.objects:
        if item["metadata"].get("namespace") != "chat":
            yield f"{item['kind']} {item['metadata']['name']}: in {item['metadata'].get('namespace')}"


def is_labelled(release: Rendering) -> Iterator[str]:
    """Every object can be found by its release."""
    for item in release.objects:
        labels: dict[str, Any] = item["metadata"].get("labels", {})
        if labels.get("app.kubernetes.io/instance") != "demo" or "helm.sh/chart" not in labels:
            yield f"{item['kind']} {item['metadata']['name']}"


CHECKS: tuple[Callable[[Rendering], Iterator[str]], ...] = (
    names_fit,
    selectors_match,
    ports_fit,
    volumes_fit,
    references_exist,
    is_replaceable,
    is_restricted,
    is_modest,
    keeps_secrets,
    stays_in_its_namespace,
    is_labelled,
)
