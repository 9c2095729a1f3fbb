"""A Kubernetes API server, as far as Helm needs one: discovery, and objects that are applied, read, listed and deleted.

It refuses what the real one would by schema (strictly, as Helm asks for) and by immutable fields. It is none in all other
ways: no admission, no defaults, no quotas, no access rules, no controllers; a pod is done as soon as it is made.
"""

import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tests.chart.kinds import problem

Object = dict[str, Any]

_CORE = ("ConfigMap", "Secret", "Service", "ServiceAccount", "Pod", "Namespace")
_GROUPS = {
    "v1": _CORE,
    "apps/v1": ("Deployment", "StatefulSet", "ReplicaSet"),
    "policy/v1": ("PodDisruptionBudget",),
    "networking.k8s.io/v1": ("NetworkPolicy", "Ingress"),
    "autoscaling/v2": ("HorizontalPodAutoscaler",),
}
OPERATOR_GROUPS = {
    "monitoring.coreos.com/v1": ("PodMonitor", "PrometheusRule"),
    "keda.sh/v1alpha1": ("ScaledObject",),
    "gateway.networking.k8s.io/v1": ("HTTPRoute",),
}
_IMMUTABLE = {
    "Deployment": ("selector",),
    "StatefulSet": ("selector", "serviceName", "podManagementPolicy", "volumeClaimTemplates"),
    "Service": ("clusterIP",),
}
_NAMESPACE = "chat"


class Place(NamedTuple):
    """Where an object is: `name` is empty for all of a kind."""

    group: str
    kind: str
    name: str


class Refused(Exception):  # noqa: N818 - what the server does
    """A request is answered with this status and message."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status, self.reason = status, reason


def _plural(kind: str) -> str:
    lower = kind.lower()
    if lower.endswith("y"):
        return f"{lower[:-1]}ies"
    return f"{lower}es" if lower.endswith("ss") else f"{lower}s"


class Cluster:
    """The objects there are, and the kinds that are known."""

    def __init__(self, version: str, *, operators: bool) -> None:
        self.version = version
        self.groups = _GROUPS | (OPERATOR_GROUPS if operators else {})
        self.objects: dict[Place, Object] = {}
        self._revision = 0
        self._lock = threading.Lock()

    @property
    def names(self) -> set[str]:
        """Every object, as `Kind/name`."""
        return {f"{place.kind}/{place.name}" for place in self.objects}

    def one(self, kind: str, name: str) -> Object:
        """The object of this kind and name."""
        return next(item for place, item in self.objects.items() if place.kind == kind and place.name == name)

    def answer(self, method: str, path: str, body: Object) -> Object:
        """Do what is asked, and return the object that says so. Raises `Refused`."""
        if method == "GET" and (found := self._discover(path.strip("/"))):
            return found
        place = self._place(path)
        with self._lock:
            match method:
                case "GET" if place.name:
                    return self._existing(place)
                case "GET":
                    items = [item for other, item in self.objects.items() if other[:2] == place[:2]]
                    return {"apiVersion": place.group, "kind": f"{place.kind}List", "metadata": {}, "items": items}
                case "POST" | "PATCH" | "PUT":
                    return self._store(place._replace(name=body["metadata"]["name"]), body, is_new=method == "POST")
                case "DELETE":
                    self._existing(place)
                    del self.objects[place]
                    return {"apiVersion": "v1", "kind": "Status", "status": "Success"}
        raise Refused(405, "MethodNotAllowed", method)

    def _store(self, place: Place, body: Object, *, is_new: bool) -> Object:
        old = self.objects.get(place)
        if is_new and old:
            raise Refused(409, "AlreadyExists", f"{place.kind} {place.name} exists")
        if found := problem(body, self.version):
            raise Refused(400, "BadRequest", f"{place.kind} {place.name}: strict decoding error: {found}")
        for field in _IMMUTABLE.get(place.kind, ()) if old else ():
            if old and old["spec"].get(field) != body["spec"].get(field):
                raise Refused(422, "Invalid", f"{place.kind} {place.name}: spec.{field}: field is immutable")
        self._revision += 1
        uid = old["metadata"]["uid"] if old else str(uuid.uuid4())
        stored = body | {"metadata": body["metadata"] | {"uid": uid, "resourceVersion": str(self._revision)}}
        if place.kind == "Pod":
            stored["status"] = {"phase": "Succeeded"}
        self.objects[place] = stored
        return stored

    def _existing(self, place: Place) -> Object:
        if place not in self.objects:
            raise Refused(404, "NotFound", f"{place.kind} {place.name} not found")
        return self.objects[place]

    def _place(self, path: str) -> Place:
        """Which objects a path names: `/apis/GROUP/VERSION/namespaces/NAMESPACE/KINDS/NAME`."""
        parts = path.strip("/").split("/")
        group, rest = ("v1", parts[2:]) if parts[0] == "api" else ("/".join(parts[1:3]), parts[3:])
        if rest[:2] == ["namespaces", _NAMESPACE] and len(rest) > 2:
            rest = rest[2:]
        for kind in self.groups.get(group, ()):
            if rest and rest[0] == _plural(kind):
                return Place(group, kind, "".join(rest[1:2]))
        raise Refused(404, "NotFound", f"nothing is at {path}")

    def _discover(self, path: str) -> Object | None:
        """What is asked about the server itself."""
        match path.split("/"):
            case ["version"]:
                major, minor = self.version.split(".")
                return {"major": major, "minor": minor, "gitVersion": f"v{self.version}.0", "platform": "linux/amd64"}
            case ["api"]:
                return {"kind": "APIVersions", "versions": ["v1"]}
            case ["apis"]:
                named = [_group(group) for group in self.groups if group != "v1"]
                return {"kind": "APIGroupList", "apiVersion": "v1", "groups": named}
            case ["openapi", "v3", *root]:
                return self._openapi("/".join(root))
        return next((self._resources(group) for group in self.groups if path == _root(group)), None)

    def _resources(self, group: str) -> Object:
        verbs = ["create", "delete", "get", "list", "patch", "update", "watch"]
        resources = [
            {"name": _plural(kind), "singularName": "", "kind": kind, "namespaced": kind != "Namespace", "verbs": verbs}
            for kind in self.groups[group]
        ]
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group, "resources": resources}

    def _openapi(self, root: str) -> Object:
        """As little as makes Helm trust this server to refuse unknown fields."""
        if not root:
            return {"paths": {_root(group): {"serverRelativeURL": f"/openapi/v3/{_root(group)}"} for group in self.groups}}
        group = next(group for group in self.groups if _root(group) == root)
        name, _, version = group.rpartition("/")
        paths = {
            f"/{root}/namespaces/{{namespace}}/{_plural(kind)}/{{name}}": {
                "patch": {
                    "parameters": [{"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}],
                    "x-kubernetes-group-version-kind": {"group": name, "version": version, "kind": kind},
                }
            }
            for kind in self.groups[group]
        }
        return {"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": self.version}, "paths": paths}


def _root(group: str) -> str:
    return "api/v1" if group == "v1" else f"apis/{group}"


def _group(group: str) -> Object:
    version = {"groupVersion": group, "version": group.rpartition("/")[2]}
    return {"name": group.partition("/")[0], "versions": [version], "preferredVersion": version}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet: in two, the peer's delayed acknowledgement makes each answer take 40 ms
    cluster: Cluster

    def do_GET(self) -> None:
        """Answer any request."""
        length = int(self.headers.get("Content-Length", 0))
        try:
            # what is applied may be YAML by its content type; Helm sends JSON, which is both
            body = json.loads(self.rfile.read(length)) if length else {}
            status, answer = 200, self.cluster.answer(self.command, urlsplit(self.path).path, body)
        except Refused as refusal:
            status = refusal.status
            answer = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": refusal.reason}
            answer |= {"message": str(refusal), "code": status}
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 - the base class's names

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Write nothing."""


@contextmanager
def running_cluster(version: str = "1.34", *, operators: bool = True) -> Iterator[tuple[Cluster, str]]:
    """A cluster, and the URL of its API."""
    cluster = Cluster(version, operators=operators)
    handler = type("Handler", (_Handler,), {"cluster": cluster})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield cluster, f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
