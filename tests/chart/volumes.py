"""The files of a pod: ConfigMaps and Secrets as the kubelet writes them, seen at their paths by the pod's process only.

The process gets a mount namespace of its own: its paths are there for it and nobody else, and so are the names of other
pods, in its /etc/hosts. That takes root. An emptyDir at a path that the machine has itself, such as /tmp, is left to it.
"""

import base64
import os
import re
import shlex
import subprocess
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path, PurePosixPath

from tests.chart.helm import Object, Rendering


@cache
def why_not() -> str:
    """Why pods cannot have files of their own on this machine; empty if they can."""
    if os.geteuid() != 0:
        return "pods need root, for files and names of their own"
    trial = ["unshare", "--mount", "sh", "-c", "mount -t overlay overlay -o lowerdir=/usr:/etc /etc"]
    done = subprocess.run(trial, capture_output=True, text=True, check=False)
    return f"this machine has no mount namespaces: {done.stderr.strip()}" if done.returncode else ""


def contents(release: Rendering, volume: Object) -> dict[str, bytes] | None:
    """The files of a volume, by path; None for one that begins empty."""
    if name := volume.get("configMap", {}).get("name"):
        return {key: text.encode() for key, text in release.one("ConfigMap", name)["data"].items()}
    if secret := volume.get("secret"):
        data = release.one("Secret", secret["secretName"])["data"]
        return {item["path"]: base64.b64decode(data[item["key"]]) for item in secret["items"]}
    return None


class Volumes:
    """The volumes of one pod, in a directory of the test."""

    def __init__(self, directory: Path, pod: Object, edit: Callable[[str, bytes], bytes]) -> None:
        """`edit(path, content)` changes what cannot be the same on one machine as in a cluster."""
        self._directory = directory
        self._pod = pod
        self._edit = edit
        self._writes = 0

    def write(self, release: Rendering) -> None:
        """Write all files, or anew what has changed: first beside, then by swapping one link, as the kubelet does."""
        self._writes += 1
        for volume in self._pod["volumes"]:
            place = self._directory / volume["name"]
            place.mkdir(parents=True, exist_ok=True)
            files = contents(release, volume)
            if files is not None:
                self._swap(place, {path: self._edit(path, content) for path, content in files.items()})

    def _swap(self, place: Path, files: Mapping[str, bytes]) -> None:
        version = place / f"..{self._writes}"
        version.mkdir()
        for path, content in files.items():
            (version / path).write_bytes(content)
            if not (place / path).is_symlink():
                (place / path).symlink_to(f"..data/{path}")
        (place / "..new").symlink_to(version.name)
        (place / "..new").rename(place / "..data")

    def wrap(self, command: list[str], mounts: list[Object], hosts: Path) -> list[str]:
        """The command that runs `command` with the volumes where they are mounted. The process id stays the same."""
        paths = {mount["mountPath"]: self._directory / mount["name"] for mount in mounts}
        own = {path: place for path, place in paths.items() if not Path(path).exists()}
        script = []
        for top in sorted({PurePosixPath(path).parts[1] for path in own} | {"etc"}):
            lower = self._directory / "..lower" / top
            lower.mkdir(parents=True, exist_ok=True)
            for path in own:
                (self._directory / "..lower" / path.lstrip("/")).mkdir(parents=True, exist_ok=True)
            script.append(f"mount -t overlay overlay -o lowerdir={shlex.quote(str(lower))}:/{top} /{top}")
        script += [f"mount --bind {shlex.quote(str(place))} {path}" for path, place in own.items()]
        script += [f"mount --bind {shlex.quote(str(hosts))} /etc/hosts", 'exec "$@"']
        return ["unshare", "--mount", "sh", "-e", "-c", "\n".join(script), "sh", *command]


def listening_on(address: str) -> Callable[[str, bytes], bytes]:
    """An edit of nats.conf: it listens on the pod's address, since all pods share the machine's."""

    def edit(path: str, content: bytes) -> bytes:
        if path != "nats.conf":
            return content
        return re.sub(rb"^( *)port:", rb"\1host: " + address.encode() + rb"\n\1port:", content, flags=re.MULTILINE)

    return edit
