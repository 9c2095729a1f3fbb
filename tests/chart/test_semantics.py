"""That the objects of a release fit together, for every fixture; and that each check sees it when they do not."""

import copy
import functools
import operator
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.chart import semantics
from tests.chart.helm import FIXTURES, OPERATORS, Object, Rendering, fixture, render

Check = Callable[[Rendering], Iterator[str]]


@functools.cache
def release(name: str, version: str = "1.34") -> Rendering:
    """A fixture's release, without what its values add by themselves."""
    values = fixture(name)
    values.pop("extraObjects", None)
    return render(values, version=version, apis=OPERATORS)


@pytest.mark.parametrize("check", semantics.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("version", ["1.27", "1.34"])
@pytest.mark.parametrize("name", FIXTURES)
def test_objects_of_a_release_fit_together(name: str, version: str, check: Check) -> None:
    """See each check."""
    assert list(check(release(name, version))) == []


@pytest.mark.parametrize("name", FIXTURES)
def test_names_fit_when_the_release_has_the_longest_name(name: str) -> None:
    """Helm allows 53 characters."""
    long = render(fixture(name), apis=OPERATORS, name="r" + "x" * 52)
    assert list(semantics.names_fit(long)) == []
    assert list(semantics.references_exist(long)) == []


def changed(path: str, value: Any) -> Rendering:
    """The default release with one thing changed: `Kind/name-end/field/0/field`; None removes it."""
    wrong = copy.deepcopy(release("default"))
    kind, name, *fields = path.split("/")
    *way, last = (int(field) if field.isdigit() else field.replace("|", "/") for field in fields)
    place: Any = functools.reduce(operator.getitem, way, wrong.one(kind, name))  # type: ignore[arg-type]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return wrong


POD = "Deployment//spec/template/spec"
NODE = f"{POD}/containers/0"
WRONG: list[tuple[Check, str, Any]] = [
    (semantics.names_fit, "Deployment//metadata/name", "x" * 53),
    (semantics.names_fit, "Deployment//metadata/name", "Demo"),
    (semantics.selectors_match, "Service/usher/spec/selector", {"a": "b"}),
    (semantics.selectors_match, "Deployment//spec/selector/matchLabels/app.kubernetes.io|component", "nats"),
    (semantics.selectors_match, "Deployment//spec/template/metadata/labels/helm.sh|chart", "usher-0.1.0"),
    (semantics.ports_fit, f"{NODE}/ports/1/name", "clients"),
    (semantics.ports_fit, f"{NODE}/ports/0/name", "a-port-with-a-long-name"),
    (semantics.ports_fit, f"{NODE}/livenessProbe/httpGet/port", "admin"),
    (semantics.ports_fit, "Service/usher/spec/ports/0/targetPort", "http"),
    (semantics.volumes_fit, f"{POD}/volumes/0/name", "settings"),
    (semantics.volumes_fit, f"{NODE}/volumeMounts/1/mountPath", "/etc/usher/config"),
    (semantics.volumes_fit, f"{NODE}/env/0/name", "USHER_HOST"),
    (semantics.references_exist, f"{POD}/volumes/0/configMap/name", "demo-usher-settings"),
    (semantics.references_exist, f"{POD}/volumes/1/secret/items/0/key", "apps.yaml"),
    (semantics.references_exist, f"{NODE}/env/6/valueFrom/secretKeyRef/key", "login"),
    (semantics.references_exist, f"{POD}/serviceAccountName", "demo-usher-account"),
    (semantics.is_replaceable, "Deployment//spec/strategy/rollingUpdate/maxSurge", 0),
    (semantics.is_replaceable, "PodDisruptionBudget/usher/spec/maxUnavailable", 0),
    (semantics.is_replaceable, "Deployment//spec/replicas", None),
    (semantics.is_replaceable, "Deployment//spec/progressDeadlineSeconds", 60),
    (semantics.is_restricted, f"{POD}/automountServiceAccountToken", None),
    (semantics.is_restricted, f"{POD}/hostNetwork", True),
    (semantics.is_restricted, f"{POD}/volumes/0", {"name": "config", "hostPath": {"path": "/"}}),
    (semantics.is_restricted, f"{POD}/securityContext/runAsNonRoot", False),
    (semantics.is_restricted, f"{POD}/securityContext/seccompProfile", None),
    (semantics.is_restricted, f"{NODE}/securityContext/allowPrivilegeEscalation", True),
    (semantics.is_restricted, f"{NODE}/securityContext/readOnlyRootFilesystem", None),
    (semantics.is_restricted, f"{NODE}/securityContext/capabilities", {"drop": ["ALL"], "add": ["NET_ADMIN"]}),
    (semantics.is_restricted, f"{NODE}/ports/0/hostPort", 6001),
    (semantics.is_modest, f"{NODE}/image", "usher:latest"),
    (semantics.is_modest, f"{NODE}/image", "registry:5000/usher"),
    (semantics.is_modest, f"{NODE}/resources/limits/memory", "1Gi"),
    (semantics.keeps_secrets, "ConfigMap/usher/data/usher.toml", 'password = "hush"'),
    (semantics.keeps_secrets, f"{NODE}/env/6", {"name": "USHER_NATS__PASSWORD", "value": "hush"}),
    (semantics.stays_in_its_namespace, "Service/usher/metadata/namespace", "default"),
    (semantics.is_labelled, "Service/usher/metadata/labels", {}),
]


@pytest.mark.parametrize(("check", "path", "value"), WRONG, ids=[path for _, path, _ in WRONG])
def test_check_sees_a_release_that_is_wrong(check: Check, path: str, value: Any) -> None:
    """One thing changed is one or more problems."""
    wrong = changed(path, value)
    if path.endswith("helm.sh|chart"):  # a label of pods is no harm until somebody selects by it
        wrong.node["selector"]["matchLabels"]["helm.sh/chart"] = value
    assert list(check(wrong))


def container_of(name: str, version: str) -> Object:
    """The node's container of a fixture."""
    return release(name, version).container


def test_pods_wait_before_sigterm_by_kubernetes_own_means_where_it_has_them() -> None:
    """Before 1.30 it has not, and the image has no shell."""
    assert container_of("default", "1.30")["lifecycle"]["preStop"] == {"sleep": {"seconds": 5}}
    assert container_of("default", "1.27")["lifecycle"]["preStop"] == {"exec": {"command": ["usher", "wait", "5"]}}
    assert "lifecycle" not in container_of("single", "1.34")
